/**
 * A model of schema 2: prompts by name, state by the manifest's interface.
 * Letters: G key/value heads, T text rows, Dh head width, V vocabulary, E embedding, N text tokens.
 */
import { EdgecapError, pick } from "./errors.js";
import { generateBySpec } from "./generation.js";
import { processed } from "./image_processing.js";
import { functionNamed, inputSize, newName, sizesOf } from "./manifest2.js";
import { readRegions } from "./regions.js";
import { sampler } from "./sampling.js";
import { embedding, floats, int32, shaped, uint8, zeros } from "./tensors.js";
import { TextCodec } from "./text_codec.js";

export class PromptModel {
  constructor(manifest, tokenizerBytes, session) {
    this.manifest = manifest;
    this.session = session;
    this.interface = manifest.interface;
    this.codec = tokenizerBytes && new TextCodec(tokenizerBytes, manifest.tokenizer);
    this.languages = []; // the prompt determines the language
    this.prompts = Object.keys(manifest.prompts);
  }

  /** [h, w] of the input in px. */
  get inputSize() {
    return inputSize(this.manifest.image);
  }

  request({ lang = null, prompt = null, grounded, maxLength = null, beams = null, sampling = null, rule }) {
    if (!functionNamed(this.interface, "decode")) {
      throw new EdgecapError("model.capability", `${this.manifest.name} embeds images and texts; it does not generate captions.`);
    }
    for (const [name, value] of Object.entries({ lang, grounded: grounded ?? null, rule: rule ?? null })) {
      if (value !== null) {
        throw new EdgecapError("model.capability", `${this.manifest.name} has no ${name}.`, `Prompts: ${this.prompts.join(", ")}.`);
      }
    }
    const name = pick("prompt", prompt ?? this.prompts[0], this.prompts);
    const spec = { ...this.manifest.prompts[name] };
    if (maxLength !== null) {
      if (!Number.isInteger(maxLength) || maxLength < 1 || maxLength > spec.max_new_tokens) {
        throw new EdgecapError("caption.length", `maxLength must be 1 to ${spec.max_new_tokens}, got ${maxLength}.`);
      }
      spec.max_new_tokens = maxLength;
      spec.min_new_tokens = Math.min(spec.min_new_tokens, maxLength);
    }
    spec.beams = beams ?? (sampling ? 1 : spec.beams);
    return { lang: "", prompt: name, spec, beams: spec.beams, sampling };
  }

  preprocess(image) {
    return processed(image, this.manifest.image);
  }

  async encode(pixels) {
    const [h, w] = inputSize(this.manifest.image);
    const made = await this.session.run("encode", { image: uint8(pixels, [1, h, w, 3]) });
    return this.#checked("encode", made);
  }

  #checked(name, made) {
    for (const [key, { shape }] of Object.entries(functionNamed(this.interface, name).outputs)) {
      shaped(made[key], sizesOf(this.interface.dims, shape), `${name}.${key}`);
    }
    return made;
  }

  async generate(encoded, request, onTokens) {
    const sequence = new Sequence(this.interface, (inputs) => this.session.run("decode", inputs).then((made) => this.#checked("decode", made)));
    sequence.begin(encoded);
    const choose = request.sampling ? sampler(request.sampling) : undefined;
    const tokens = [];
    const scores = [];
    return generateBySpec(sequence, request.spec, choose, ({ token, score }) => {
      tokens.push(token);
      scores.push(score);
      return onTokens?.([...tokens], [...scores]);
    });
  }

  read(tokens, scores, placement) {
    const { regions: spec, image } = this.manifest;
    if (spec === null) return { text: this.codec.decode(tokens).trim(), regions: [], malformed: 0 };
    const { text, regions, malformed } = readRegions(tokens, this.codec, spec, inputSize(image), placement, scores);
    return {
      text,
      regions: regions.map(({ start, end, boxes, scores: sure }) => ({
        phrase: text.slice(start, end), span: [start, end], boxes, scores: sure,
      })),
      malformed,
    };
  }

  settled(tokens) {
    return tokens.length; // U+FFFD stands for half a character until the next token
  }

  result(generated, placement, request) {
    const { tokens, scores, score, complete } = generated;
    return {
      ...this.read(tokens, scores, placement),
      raw: this.codec.decode(tokens, false),
      words: this.#words(tokens, generated.attention),
      lang: request.lang,
      prompt: request.prompt,
      tokens,
      scores,
      score,
      complete,
    };
  }

  /** Words with maps, where decode gives attention: tokens joined until a space comes. */
  #words(tokens, attention) {
    const { attention: grid } = this.interface;
    if (grid === null) return [];
    const { rows, columns, first } = grid;
    const starts = [];
    tokens.forEach((_, i) => {
      const [before, now] = [this.codec.decode(tokens.slice(0, i)), this.codec.decode(tokens.slice(0, i + 1))];
      if (i === 0 || /^\s/u.test(now.slice(before.length))) starts.push(i);
    });
    const lead = this.codec.decode(tokens).search(/\S|$/u);
    return starts.map((start, i) => {
      const end = starts[i + 1] ?? tokens.length;
      const data = new Float32Array(rows * columns);
      for (let t = start; t < end; t += 1) {
        for (let p = 0; p < data.length; p += 1) data[p] += attention[t][first + p] / (end - start);
      }
      const before = this.codec.decode(tokens.slice(0, start));
      const upTo = this.codec.decode(tokens.slice(0, end)).trimEnd();
      const from = upTo.length - upTo.slice(before.length).trimStart().length;
      const text = upTo.slice(from);
      return { text, isBox: false, tokens: [start, end], span: [from - lead, upTo.length - lead], map: { data, rows, columns } };
    });
  }

  async embedImage(pixels) {
    if (!("image_embedding" in functionNamed(this.interface, "encode").outputs)) this.#lacks("embeddings of images");
    const made = await this.encode(pixels);
    return embedding(made.image_embedding, [1, this.interface.dims.E], "image_embedding");
  }

  async embedText(text, encode) {
    if (!functionNamed(this.interface, "encode_text")) this.#lacks("embeddings of texts");
    if (typeof encode !== "function") {
      throw new EdgecapError(
        "prompts.none",
        "this model's texts need its own tokenizer, which this package does not have.",
        "Give encode: (text) => ids, made from the bundle's prompts.json.",
      );
    }
    const { N, E } = this.interface.dims;
    const ids = [...(await encode(text))];
    if (!ids.length || ids.length > N) {
      throw new EdgecapError("text.too_long", `a text makes ${ids.length} tokens; 1 to ${N} are possible.`);
    }
    const padded = Array.from({ length: N }, (_, i) => ids[i] ?? 0);
    const made = await this.session.run("encode_text", { tokens: int32(padded, [1, N]), length: int32([ids.length], [1]) });
    return embedding(made.text_embedding, [1, E], "text_embedding");
  }

  #lacks(what) {
    throw new EdgecapError("model.capability", `${this.manifest.name} has no ${what}.`);
  }
}

/** One caption in progress. Image entries are shared, text rows are its own, rolling ones replaced. */
class Sequence {
  constructor(interface_, run) {
    Object.assign(this, { interface: interface_, run, fed: 0, state: {} });
  }

  begin(encoded) {
    for (const entry of this.interface.state) {
      const dims = sizesOf(this.interface.dims, entry.shape);
      this.state[entry.name] = entry.role === "text" ? zeros(entry.dtype, dims) : encoded[entry.name];
    }
  }

  async feed(token) {
    const made = await this.run({ token: int32([token], [1, 1]), position: int32([this.fed], [1]), ...this.state });
    for (const entry of this.interface.state) {
      if (entry.role === "rolling") this.state[entry.name] = made[newName(entry)];
      if (entry.role !== "text") continue;
      const { data, dims: [, G, T, Dh] } = this.state[entry.name];
      const rows = made[newName(entry)].data; // [1,G,1,Dh]
      for (let g = 0; g < G; g += 1) data.set(rows.subarray(g * Dh, (g + 1) * Dh), (g * T + this.fed) * Dh);
    }
    this.fed += 1;
    return { logits: floats(made.logits), attention: made.attention ? floats(made.attention) : null };
  }

  fork() {
    const copy = Object.assign(new Sequence(this.interface, this.run), { fed: this.fed, state: { ...this.state } });
    for (const entry of this.interface.state) {
      if (entry.role !== "text") continue;
      const tensor = this.state[entry.name];
      copy.state[entry.name] = { ...tensor, data: tensor.data.slice() };
    }
    return copy;
  }
}
