/** From images to captions, regions, attention maps and embeddings, on any engine. */
import { readCaption, readTokens } from "./captions.js";
import { CONFIDENCE, Confidence, readCalibration } from "./confidence.js";
import { engineFor, serially } from "./engines/index.js";
import { EdgecapError } from "./errors.js";
import { openBundle } from "./files.js";
import { readPixels } from "./image.js";
import { Model } from "./model.js";
import { requestOf } from "./requests.js";
import { sampling as checkedSampling } from "./sampling.js";
import { openVocabulary } from "./vocabulary.js";

const LOAD_OPTIONS = [
  "device", "dtype", "engine", "threads", "onProgress", "progress_callback", "cache", "signal",
  "minConfidence",
];
const CAPTION_OPTIONS = [
  "lang", "prompt", "grounded", "beams", "maxLength", "sampling", "rule", "onToken", "signal",
];

export class Captioner {
  /** Use Captioner.fromPretrained. */
  constructor(model, engine, confidence) {
    this.model = model;
    this.confidence = confidence;
    this.manifest = model.manifest;
    this.engine = engine;
    this.disposed = false;
  }

  /**
   * Loads and checks a bundle; index.d.ts describes the options.
   * Rejects with EdgecapError: bundle.*, tokenizer.*, engine.*, confidence.*, device.unknown, dtype.unknown,
   * package.missing.
   */
  static async fromPretrained(source, options = {}) {
    known(options, LOAD_OPTIONS);
    const { device = "auto", dtype = null, engine = null, threads = null, cache = true, signal } = options;
    const { minConfidence = null } = options;
    if (threads !== null && !(Number.isInteger(threads) && threads >= 1)) {
      throw new EdgecapError("option.threads", `threads must be a whole number of at least 1, got ${threads}.`);
    }
    const onProgress = options.onProgress ?? options.progress_callback ?? null;
    const bundle = await openBundle(source, { onProgress, cache, signal });
    const vocabulary = openVocabulary(bundle);
    const { manifest } = vocabulary;
    if (dtype !== null && dtype !== manifest.precision) {
      throw new EdgecapError("dtype.unknown", `the bundle is ${manifest.precision}, not ${dtype}.`, "Give the bundle of that dtype.");
    }
    const calibration = bundle.has(CONFIDENCE) ? readCalibration(bundle.read(CONFIDENCE)) : null;
    const confidence = new Confidence(calibration, minConfidence);
    const made = await engineFor(engine, manifest.format);
    const session = serially(await made.open({ ...bundle, manifest }, { device, threads }));
    const captioner = new Captioner(new Model(vocabulary, session), made.name, confidence);
    bundle.release();
    onProgress?.({ status: "ready" });
    return captioner;
  }

  /** The same by transformers.js's name. */
  static from_pretrained(source, options) {
    return Captioner.fromPretrained(source, options);
  }

  get languages() {
    return this.model.tokenizer ? this.manifest.languages : [];
  }

  get prompts() {
    return this.model.tokenizer ? this.manifest.styles : Object.keys(this.manifest.prompts);
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
    const request = requestOf(this.manifest, this.model.tokenizer, { ...pruned(options), sampling });
    this.confidence.check(request.prompt);
    const { beams: width } = request.rules.spec;
    if (width > 1 && (sampling || onToken)) {
      const what = sampling ? "beams_sampled" : "beams_streamed";
      throw new EdgecapError(
        `caption.${what}`,
        `${width} beams: beam search cannot be combined with sampling or streaming.`,
        "Use beams: 1, or leave out sampling and onToken.",
      );
    }
    const began = performance.now();
    const input = this.model.preprocess(await readPixels(image));
    const { placement } = input;
    const prepared = performance.now();
    const encoded = await this.model.encode(input);
    const seen = performance.now();
    signal?.throwIfAborted();
    const generated = await this.model.generate(encoded, request, this.#follow(onToken, signal, placement, request));
    const second = await this.#second(encoded, request, placement, signal);
    const result = this.confidence.rated(readCaption(generated, this.model, placement, request), second);
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
      vectors.push(await this.model.embedImage(this.model.preprocess(await readPixels(image))));
    }
    return vectors;
  }

  /** One text or several in the same space. `encode`: text -> ids, for models without languages. */
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
    await this.model.session.dispose();
  }

  /** The caption that the confidence of the one for `request` needs as well, greedy; null if none. */
  async #second(encoded, { lang, prompt: first }, placement, signal) {
    const prompt = this.confidence.secondPrompt(first);
    if (prompt === null) return null;
    const request = requestOf(this.manifest, this.model.tokenizer, { ...(lang && { lang }), prompt, beams: 1 });
    const generated = await this.model.generate(encoded, request, this.#follow(null, signal, placement, request));
    return readCaption(generated, this.model, placement, request);
  }

  /** What is done after each token: the signal may end the caption, and `onToken` gets what is said so far. */
  #follow(onToken, signal, placement, { lang }) {
    const tokens = [];
    const scores = [];
    return async ({ token, score }) => {
      signal?.throwIfAborted();
      if (onToken === null) return;
      tokens.push(token);
      scores.push(score);
      const settled = this.model.codec.settled(tokens);
      const { text, regions } = readTokens(tokens.slice(0, settled), scores, this.model, placement, lang);
      await onToken({ token, tokens: [...tokens], text, regions });
    };
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
