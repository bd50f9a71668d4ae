/**
 * Texts to ids: byte-fallback BPE from a Hugging Face tokenizer.json. Read from the file: vocabulary,
 * merges, special tokens. Fixed, and checked: NFC, space to "▁", the pattern that splits words.
 * A text is encoded with one space before it; codecOf in vocabulary.js takes it off again.
 */
import { EdgecapError } from "./errors.js";
import { Real, parse } from "./json.js";

export const SPACE = "▁";
const PIECE = "▁?[^▁.,;:!?、。，；：！？「」()'’\"]+|▁|[.,;:!?、。，；：！？「」()'’\"]";
const PIECES = new RegExp(PIECE, "gu");
const UTF8 = new TextEncoder();

function unsupported(message) {
  throw new EdgecapError("tokenizer.unsupported", `${message}.`);
}

function typed(value, kind) {
  const fits = {
    object: value !== null && typeof value === "object" && !Array.isArray(value) && !(value instanceof Real),
    list: Array.isArray(value),
    text: typeof value === "string",
    whole: typeof value === "number",
  }[kind];
  return fits ? value : unsupported(`a field should be ${kind}`);
}

const truthy = (value) => Boolean(value instanceof Real ? value.value : value);

/** Whether two values of strict JSON are alike, whatever the order of their keys. */
function same(a, b) {
  if (a === null || b === null || typeof a !== "object" || typeof b !== "object") return a === b;
  const [left, right] = [Object.keys(a), Object.keys(b)];
  return (
    Array.isArray(a) === Array.isArray(b) &&
    left.length === right.length &&
    left.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]))
  );
}

const NORMALIZERS = [{ type: "NFC" }, { type: "Replace", pattern: { String: " " }, content: SPACE }];
const SPLITTER = { type: "Split", pattern: { Regex: PIECE }, behavior: "Isolated", invert: false };

export class Tokenizer {
  /** @param {Uint8Array} data the bytes of a tokenizer.json */
  constructor(data, where = "tokenizer.json") {
    const spec = typed(parse(data, where), "object");
    const model = typed(spec.model, "object");
    if (model.type !== "BPE" || model.byte_fallback !== true) unsupported(`${where} is not a BPE with byte fallback`);
    for (const name of ["dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"]) {
      if (truthy(model[name])) unsupported(`${where} uses ${name}`);
    }
    this.ids = new Map(Object.entries(typed(model.vocab, "object")).map(([t, i]) => [t, typed(i, "whole")]));
    this.special = new Map();
    for (const item of typed(spec.added_tokens ?? [], "list")) {
      this.special.set(typed(typed(item, "object").content, "text"), typed(item.id, "whole"));
    }
    for (const [token, id] of this.special) this.ids.set(token, id);
    this.tokens = [];
    for (const [token, id] of this.ids) {
      if (id < 0 || id >= this.ids.size) unsupported(`the ids of ${where} are not 0 … ${this.ids.size - 1}`);
      this.tokens[id] = token;
    }
    for (let id = 0; id < this.tokens.length; id += 1) {
      if (this.tokens[id] === undefined) unsupported(`${where} has no token ${id}`);
    }
    const hex = (byte) => byte.toString(16).toUpperCase().padStart(2, "0");
    this.bytes = Array.from({ length: 256 }, (_, byte) => this.ids.get(`<0x${hex(byte)}>`) ?? -1);
    if (this.bytes.includes(-1)) unsupported(`${where} lacks some of the 256 byte tokens`);
    this.merges = this.#readMerges(typed(model.merges, "list"));
    if (!same(spec.normalizer?.normalizers, NORMALIZERS)) {
      unsupported(`${where} does not normalise by NFC and space to ${SPACE} alone`);
    }
    if (!same(spec.pre_tokenizer, SPLITTER)) {
      unsupported(`${where} does not split words by the pattern that edgecap knows`);
    }
  }

  /** V, special tokens included. */
  get size() {
    return this.tokens.length;
  }

  idOf(token) {
    const id = this.ids.get(token);
    if (id === undefined) throw new EdgecapError("tokenizer.token", `the tokenizer has no token ${token}.`);
    return id;
  }

  /** Ids of a text. With `allowSpecial`, names of special tokens become those tokens. */
  encode(text, allowSpecial = false) {
    const whole = ` ${text.replace(/\p{Surrogate}/gu, "?")}`; // half a character has no UTF-8
    if (!allowSpecial) return this.#encodePlain(whole);
    const names = [...this.special.keys()].sort((a, b) => b.length - a.length);
    const ids = [];
    let begin = 0;
    for (let at = 0; at < whole.length; ) {
      const name = names.find((candidate) => candidate && whole.startsWith(candidate, at));
      if (name === undefined) {
        at += 1;
        continue;
      }
      ids.push(...this.#encodePlain(whole.slice(begin, at)), this.special.get(name));
      begin = at += name.length;
    }
    return [...ids, ...this.#encodePlain(whole.slice(begin))];
  }

  #readMerges(merges) {
    const ranked = new Map();
    merges.forEach((merge, rank) => {
      const parts = typeof merge === "string" ? merge.split(" ") : typed(merge, "list");
      if (parts.length !== 2) unsupported(`the merge ${rank} does not join two tokens`);
      const [left, right] = parts.map((part) => typed(part, "text"));
      ranked.set(this.#pair(this.idOf(left), this.idOf(right)), [rank, this.idOf(left + right)]);
    });
    return ranked;
  }

  #pair(left, right) {
    return left * 2 ** 26 + right;
  }

  #encodePlain(text) {
    const normal = text.normalize("NFC").replaceAll(" ", SPACE);
    const ids = [];
    let end = 0;
    for (const match of normal.matchAll(PIECES)) {
      if (match.index > end) ids.push(...this.#merge(normal.slice(end, match.index)));
      ids.push(...this.#merge(match[0]));
      end = match.index + match[0].length;
    }
    if (end < normal.length) ids.push(...this.#merge(normal.slice(end)));
    return ids;
  }

  /** Merge the lowest rank first, leftmost among equals, until nothing merges. */
  #merge(piece) {
    const symbols = [];
    for (const character of piece) {
      const known = this.ids.get(character);
      if (known !== undefined) symbols.push(known);
      else for (const byte of UTF8.encode(character)) symbols.push(this.bytes[byte]);
    }
    for (;;) {
      let best = null;
      let place = -1;
      for (let i = 0; i + 1 < symbols.length; i += 1) {
        const found = this.merges.get(this.#pair(symbols[i], symbols[i + 1]));
        if (found !== undefined && (best === null || found[0] < best[0])) {
          best = found;
          place = i;
        }
      }
      if (best === null) return symbols;
      symbols.splice(place, 2, best[1]);
    }
  }
}
