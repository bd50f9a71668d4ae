/** From images to captions, regions, attention maps and embeddings, on any engine. */
import { engineFor, serially } from "./engines/index.js";
import { EdgecapError } from "./errors.js";
import { openBundle } from "./files.js";
import { readPixels } from "./image.js";
import { PromptModel } from "./prompt_model.js";
import { ReferenceModel } from "./reference_model.js";
import { sampling as checkedSampling } from "./sampling.js";

const LOAD_OPTIONS = [
  "device", "dtype", "engine", "threads", "onProgress", "progress_callback", "cache", "signal",
];
const CAPTION_OPTIONS = [
  "lang", "prompt", "grounded", "beams", "maxLength", "sampling", "rule", "onToken", "signal",
];

export class Captioner {
  /** Use Captioner.fromPretrained. */
  constructor(model, manifest, session, engine) {
    this.model = model;
    this.manifest = manifest;
    this.session = session;
    this.engine = engine;
    this.disposed = false;
  }

  /**
   * Loads and checks a bundle; index.d.ts describes the options.
   * Rejects with EdgecapError: bundle.*, tokenizer.*, engine.*, device.unknown, dtype.unknown, package.missing.
   */
  static async fromPretrained(source, options = {}) {
    known(options, LOAD_OPTIONS);
    const { device = "auto", dtype = null, engine = null, threads = null, cache = true, signal } = options;
    if (threads !== null && !(Number.isInteger(threads) && threads >= 1)) {
      throw new EdgecapError("option.threads", `threads must be a whole number of at least 1, got ${threads}.`);
    }
    const onProgress = options.onProgress ?? options.progress_callback ?? null;
    const bundle = await openBundle(source, { onProgress, cache, signal });
    const { manifest } = bundle;
    if (dtype !== null && dtype !== manifest.precision) {
      throw new EdgecapError("dtype.unknown", `the bundle is ${manifest.precision}, not ${dtype}.`, "Give the bundle of that dtype.");
    }
    const tokenizer = manifest.tokenizer?.file ?? manifest.tokenizer;
    const bytes = tokenizer && bundle.read(tokenizer);
    const made = await engineFor(engine, manifest.format);
    const session = serially(await made.open(bundle, { device, threads }));
    const Model = manifest.schema === 1 ? ReferenceModel : PromptModel;
    const captioner = new Captioner(new Model(manifest, bytes, session), manifest, session, made.name);
    bundle.release();
    onProgress?.({ status: "ready" });
    return captioner;
  }

  /** The same by transformers.js's name. */
  static from_pretrained(source, options) {
    return Captioner.fromPretrained(source, options);
  }

  get languages() {
    return this.model.languages;
  }

  get prompts() {
    return this.model.prompts;
  }

  /**
   * Captions one image. Options are checked before any work; the promise rejects with EdgecapError.
   * @returns {Promise<import("../index.d.ts").Caption>}
   */
  async caption(image, options = {}) {
    this.#alive();
    known(options, CAPTION_OPTIONS);
    const { onToken = null, signal, beams = null } = options;
    const sampling = options.sampling ? checkedSampling(options.sampling) : null;
    if (beams !== null && !(Number.isInteger(beams) && beams >= 1 && beams <= 32)) {
      throw new EdgecapError("caption.beams", `beams must be in 1 … 32, got ${beams}.`);
    }
    const request = this.model.request({ ...pruned(options), sampling });
    if (request.beams > 1 && (sampling || onToken)) {
      const what = sampling ? "beams_sampled" : "beams_streamed";
      throw new EdgecapError(
        `caption.${what}`,
        `${request.beams} beams: beam search cannot be combined with sampling or streaming.`,
        "Use beams: 1, or leave out sampling and onToken.",
      );
    }
    const began = performance.now();
    const { pixels, placement } = this.model.preprocess(await readPixels(image));
    const prepared = performance.now();
    const encoded = await this.model.encode(pixels);
    const seen = performance.now();
    const follow = async (tokens, scores) => {
      signal?.throwIfAborted();
      if (onToken === null) return;
      const settled = this.model.settled(tokens);
      const { text, regions } = this.model.read(tokens.slice(0, settled), scores, placement, request);
      await onToken({ token: tokens.at(-1), tokens, text, regions });
    };
    signal?.throwIfAborted();
    const generated = await this.model.generate(encoded, request, follow);
    const result = this.model.result(generated, placement, request);
    const ended = performance.now();
    return {
      ...result,
      placement,
      inputSize: this.model.inputSize,
      timings: {
        preprocess: prepared - began, encode: seen - prepared, decode: ended - seen, total: ended - began,
        tokens: result.tokens.length,
      },
    };
  }

  /** One image or several in the shared space: a Float32Array [E] of norm 1 each. The dot product ranks. */
  async embedImages(images) {
    this.#alive();
    const vectors = [];
    for (const image of Array.isArray(images) ? images : [images]) {
      vectors.push(await this.model.embedImage(this.model.preprocess(await readPixels(image)).pixels));
    }
    return vectors;
  }

  /** One text or several in the same space. `encode`: text -> ids, needed by models of schema 2. */
  async embedTexts(texts, { encode } = {}) {
    this.#alive();
    const vectors = [];
    for (const text of Array.isArray(texts) ? texts : [texts]) vectors.push(await this.model.embedText(text, encode));
    return vectors;
  }

  /** Frees what the engine holds; the captioner is used up. */
  async dispose() {
    if (this.disposed) return;
    this.disposed = true;
    await this.session.dispose();
  }

  #alive() {
    if (this.disposed) throw new EdgecapError("captioner.disposed", "this captioner was disposed.", "Load it again.");
  }
}

function known(options, names) {
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) {
      throw new EdgecapError("option.unknown", `unknown option ${name}; known: ${names.join(", ")}.`);
    }
  }
}

/** Without options that are undefined or null: those are not given. */
const pruned = (options) => Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== null));
