/**
 * A model of schema 1: languages, styles, boxes and attention maps.
 * Letters: L layers, H heads, P patches, T text rows, Tmax = P + T, Dh head width, S input side.
 */
import { beamSearch, generate } from "./decode.js";
import { EdgecapError, pick } from "./errors.js";
import { TokenGrammar } from "./grammar.js";
import { letterboxed } from "./image.js";
import { read } from "./mentions.js";
import { sampler } from "./sampling.js";
import { embedding, floats, int32, shaped, uint8, zeros } from "./tensors.js";
import { Tokenizer } from "./tokenizer.js";
import { wordMaps } from "./words.js";

const PROMPT = 2; // <lang> <style>

export class ReferenceModel {
  constructor(manifest, tokenizerBytes, session) {
    this.manifest = manifest;
    this.session = session;
    this.contract = manifest.contract;
    this.tokenizer = new Tokenizer(tokenizerBytes, manifest.tokenizer.file);
    if (this.tokenizer.size > this.contract.vocabulary) {
      throw new EdgecapError(
        "tokenizer.size",
        `the tokenizer has ${this.tokenizer.size} tokens and the model ${this.contract.vocabulary}.`,
      );
    }
    const { pad, eos, text } = manifest.tokenizer;
    [this.pad, this.eos, this.text] = [pad, eos, text].map((token) => this.tokenizer.idOf(token));
    for (const name of [...manifest.languages, ...manifest.styles]) this.tokenizer.idOf(`<${name}>`);
    const { first, bins, bin_px: binPx } = manifest.coordinates;
    this.places = { first: this.tokenizer.idOf(first), bins, binPx };
    if (this.places.first + bins > this.tokenizer.size) {
      throw new EdgecapError("tokenizer.token", `there are fewer than ${bins} locations.`);
    }
    this.languages = manifest.languages;
    this.prompts = manifest.styles;
    this.longest = this.contract.text_length - PROMPT;
  }

  /** [h, w] of the input in px. */
  get inputSize() {
    const { size } = this.manifest.preprocessing;
    return [size, size];
  }

  /** The request, checked before any work: prompt ids, limits, beams. */
  request({ lang = null, prompt = null, grounded = true, maxLength = null, beams = null, sampling = null, rule = true }) {
    const style = prompt ?? (grounded ? "grounded" : "plain");
    const language = lang ?? (this.languages.includes("en") ? "en" : this.languages[0]);
    pick("language", language, this.languages);
    pick("style", style, this.prompts);
    const length = maxLength ?? this.longest;
    if (!Number.isInteger(length) || length < 1 || length > this.longest) {
      throw new EdgecapError("caption.length", `maxLength must be in 1 … ${this.longest}, got ${length}.`);
    }
    const start = grounded && style !== "plain" ? "boxes" : "plain";
    const { grammar } = this.manifest;
    return {
      lang: language,
      prompt: style,
      ids: [this.tokenizer.idOf(`<${language}>`), this.tokenizer.idOf(`<${style}>`)],
      limits: {
        eos: this.eos,
        length,
        rule: rule ? new TokenGrammar(grammar, start, this.contract.vocabulary, this.tokenizer.size) : null,
      },
      beams: beams ?? 1,
      sampling,
    };
  }

  preprocess(image) {
    return letterboxed(image, this.manifest.preprocessing);
  }

  async encode(pixels) {
    const { size } = this.manifest.preprocessing;
    return this.session.run("encode_image", { image: uint8(pixels, [1, size, size, 3]) });
  }

  /** Generated tokens of one image. `onTokens(tokens, chosen)` follows. */
  async generate(encoded, request, onTokens) {
    const sequence = Sequence.begin(this.session, this.contract, encoded);
    if (request.beams > 1) return beamSearch(sequence, request.ids, request.limits, request.beams);
    const choose = request.sampling ? sampler(request.sampling) : undefined;
    const chosen = [];
    const follow = (choice) => {
      chosen.push(choice);
      return onTokens?.(chosen.map((c) => c.token), chosen.map((c) => c.score));
    };
    return generate(sequence, request.ids, request.limits, choose, follow);
  }

  /** Text and regions of tokens. */
  read(tokens, scores, placement, request) {
    const { text, groups, malformed } = read(tokens, scores, this.tokenizer, this.places, request.lang);
    const regions = groups.map(({ start, end, boxes, scores: sure }) => ({
      phrase: text.slice(start, end),
      span: [start, end],
      boxes: boxes.map((box) => placement.toImage(box)),
      scores: sure,
    }));
    return { text, regions, malformed };
  }

  /** How many of these tokens make whole characters. */
  settled(tokens) {
    let end = tokens.length;
    while (end > 0 && this.tokenizer.isByte(tokens[end - 1])) end -= 1;
    return end;
  }

  /** The whole answer. */
  result(generated, placement, request) {
    const { tokens } = generated;
    const scores = generated.chosen.map((choice) => choice.score);
    return {
      ...this.read(tokens, scores, placement, request),
      raw: this.tokenizer.decode(tokens),
      words: this.#words(generated.chosen, tokens),
      lang: request.lang,
      prompt: request.prompt,
      tokens,
      scores,
      score: generated.score,
      complete: generated.complete,
    };
  }

  #words(chosen, tokens) {
    if (!chosen.length) return [];
    const { first, bins } = this.places;
    const said = (n) =>
      this.tokenizer.decode(tokens.slice(0, n).filter((t) => t < first || t >= first + bins), true);
    const side = Math.round(Math.sqrt(this.contract.patches));
    return wordMaps(chosen, this.tokenizer, this.places).map((word) => {
      const [before, upTo] = word.tokens.map(said);
      const from = upTo.length - upTo.slice(before.length).trimStart().length;
      return { ...word, span: word.isBox ? null : [from, upTo.length], map: { data: word.map, rows: side, columns: side } };
    });
  }

  async embedImage(pixels) {
    const { image_embedding: made } = await this.encode(pixels);
    return embedding(made, [1, this.contract.embedding], "image_embedding");
  }

  async embedText(text) {
    const T = this.contract.text_length;
    const ids = this.#frame(text);
    const tokens = Array.from({ length: T }, (_, i) => ids[i] ?? this.pad);
    const made = await this.session.run("encode_text", {
      tokens: int32(tokens, [1, T]), length: int32([ids.length], [1]),
    });
    return embedding(made.text_embedding, [1, this.contract.embedding], "text_embedding");
  }

  #frame(text) {
    if (typeof text !== "string") throw new EdgecapError("text.type", `a text must be a string, got ${typeof text}.`);
    const stripped = text.trim();
    if (!stripped) throw new EdgecapError("text.empty", "an empty text cannot be embedded.");
    const room = this.contract.text_length - 2;
    const longestToken = Math.max(...this.tokenizer.tokens.map((token) => token.length));
    // Before anything is merged: a text of megabytes would take minutes.
    const words = stripped.length > 4 * room * longestToken ? null : this.tokenizer.encode(stripped);
    if (words === null || words.length > room) {
      throw new EdgecapError(
        "text.too_long",
        `the text ${stripped.slice(0, 30)}… has ${words?.length ?? "too many"} tokens; at most ${room} fit.`,
        "Shorten it.",
      );
    }
    return [this.text, ...words, this.eos];
  }
}

/** One caption in progress, with its own cache k, v [L,1,H,Tmax,Dh]. */
class Sequence {
  static begin(session, contract, encoded) {
    const { layers: L, heads: H, head_width: Dh, patches: P, text_length: T, cache } = contract;
    const sequence = new Sequence();
    Object.assign(sequence, { session, contract, position: 0 });
    for (const name of ["k", "v"]) {
      const rows = shaped(encoded[name], [L, 1, H, P, Dh], name).data;
      const buffer = zeros(cache, [L, 1, H, P + T, Dh]); // zeros: masked rows must be finite
      for (let lh = 0; lh < L * H; lh += 1) {
        buffer.data.set(rows.subarray(lh * P * Dh, (lh + 1) * P * Dh), lh * (P + T) * Dh);
      }
      sequence[name] = buffer;
    }
    return sequence;
  }

  async feed(token) {
    const { layers: L, heads: H, head_width: Dh, patches: P, text_length: T, vocabulary: V } = this.contract;
    const step = await this.session.run("decode", {
      token: int32([token], [1, 1]), position: int32([this.position], [1]), k: this.k, v: this.v,
    });
    for (const name of ["k", "v"]) {
      const rows = shaped(step[`${name}_new`], [L, 1, H, 1, Dh], `${name}_new`).data;
      for (let lh = 0; lh < L * H; lh += 1) {
        this[name].data.set(rows.subarray(lh * Dh, (lh + 1) * Dh), (lh * (P + T) + P + this.position) * Dh);
      }
    }
    this.position += 1;
    return {
      logits: floats(shaped(step.logits, [1, V], "logits")),
      attention: floats(shaped(step.attention, [1, P], "attention")),
    };
  }

  fork() {
    const copy = (tensor) => ({ ...tensor, data: tensor.data.slice() });
    return Object.assign(new Sequence(), this, { k: copy(this.k), v: copy(this.v) });
  }
}
