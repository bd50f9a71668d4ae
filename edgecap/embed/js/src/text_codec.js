/**
 * Ids to text in four tokenizer families, each a small machine: push a token, get text.
 * What cannot be decided yet (half a character) waits for a later push or `finish`.
 */
import { EdgecapError } from "./errors.js";
import { parse } from "./json.js";
import { bool, list, record, text, whole } from "./typed.js";

const FAMILIES = ["byte_fallback", "byte_level", "wordpiece", "metaspace"];
const SPEC = record(
  {
    family: text, tokens: list(text), special: list(whole), space: text, strip: whole, drop_first: bool,
    prefix: text, clean_tokens: bool, clean_up: bool,
  },
  { space: "▁", strip: 0, drop_first: true, prefix: "##", clean_tokens: false, clean_up: false },
);
const CLEAN = [
  [" .", "."], [" ?", "?"], [" !", "!"], [" ,", ","], [" ' ", "'"], [" n't", "n't"], [" 'm", "'m"],
  [" 's", "'s"], [" 've", "'ve"], [" 're", "'re"],
];
const CLEAN_TOKEN = [...CLEAN.slice(0, 7), [" do not", " don't"], ...CLEAN.slice(7)];
const BYTE = /^<0x([0-9a-fA-F]{2})>$/;
const REACH = 3; // a rule's match begins with a space and has at most four characters

const replaceAll = (rules, given) => rules.reduce((made, [from, to]) => made.replaceAll(from, to), given);

function bad(message) {
  throw new EdgecapError("tokenizer.unsupported", `${message}.`, "Export the bundle again.");
}

/** A checked text spec from the bytes of a bundle's tokenizer file. */
function readSpec(bytes, where) {
  const value = parse(bytes, where, 64 << 20);
  if (value === null || typeof value !== "object" || !Array.isArray(value.tokens)) bad(`${where} has no list of tokens`);
  const { tokens } = value;
  if (!tokens.every((t) => t === null || typeof t === "string")) bad(`${where}: tokens must be texts or null`);
  value.tokens = [];
  const spec = { ...SPEC(value, where), tokens };
  if (!FAMILIES.includes(spec.family)) bad(`${where}: family is ${spec.family}; allowed: ${FAMILIES.join(", ")}`);
  if (!tokens.length || tokens.length > 1 << 20) bad(`${where} has ${tokens.length} tokens; allowed: 1-${1 << 20}`);
  if (tokens.some((t) => t !== null && t.length > 4096)) bad(`${where} has a token of more than 4096 characters`);
  if ([...tokens, spec.space, spec.prefix].some((t) => t !== null && /\p{Surrogate}/u.test(t))) bad(`${where} has a token with a lone surrogate`);
  const ascending = spec.special.every((id, i) => id >= 0 && id < tokens.length && (i === 0 || id > spec.special[i - 1]));
  if (!ascending) bad(`${where}: special must be ascending ids below ${tokens.length}`);
  if ([...spec.space].length !== 1 || [...spec.prefix].length > 16 || spec.strip < 0 || spec.strip > 16) {
    bad(`${where}: space must be one character, prefix and strip at most 16`);
  }
  return spec;
}

export class TextCodec {
  /** From the bytes of a bundle's tokenizer.json; refuses tokenizer.*, bundle.*. */
  static fromBytes(bytes, where = "tokenizer.json") {
    return new TextCodec(readSpec(bytes, where));
  }

  /** `spec`: checked. */
  constructor(spec) {
    this.spec = spec;
    this.special = new Set(spec.special);
  }

  get size() {
    return this.spec.tokens.length;
  }

  token(id) {
    return this.spec.tokens[id] ?? null;
  }

  isSpecial(id) {
    return this.special.has(id);
  }

  /** Whether this id is a single byte, so that its character may go on in the next id. */
  isByte(id) {
    return this.spec.family === "byte_fallback" && BYTE.test(this.token(id) ?? "");
  }

  /**
   * The text of ids that follow others, such as " dog": with the space that separates a word from
   * them, special tokens by their names. A part of a character gives U+FFFD.
   */
  inside(ids) {
    const { push, finish } = speller(this.spec);
    push("x"); // now no token is the first of its text
    const tokens = ids.map((id) => this.token(id)).filter((token) => token != null);
    return tokens.map(push).join("") + finish();
  }

  /** The text of ids; ids without a token are left out, as the tokenizers library does. */
  decode(ids, skipSpecial = true) {
    const stream = this.stream(skipSpecial);
    return ids.map((id) => stream.push(id)).join("") + stream.finish();
  }

  /** How many of these ids make whole characters: bytes at the end may go on. */
  settled(ids) {
    let end = ids.length;
    while (end > 0 && this.isByte(ids[end - 1])) end -= 1;
    return end;
  }

  stream(skipSpecial = true) {
    return new TextStream(this, skipSpecial);
  }
}

/** A text as it is generated: what push and finish return, joined, is what decode gives. */
class TextStream {
  constructor(codec, skipSpecial) {
    this.codec = codec;
    this.skipSpecial = skipSpecial;
    this.speller = speller(codec.spec);
    this.waiting = "";
  }

  push(id) {
    const token = this.codec.token(id);
    if (token === null || (this.skipSpecial && this.codec.isSpecial(id))) return "";
    return this.#cleaned(this.speller.push(token), false);
  }

  finish() {
    return this.#cleaned(this.speller.finish(), true);
  }

  #cleaned(piece, last) {
    if (!this.codec.spec.clean_up) return piece;
    this.waiting += piece;
    let cut = this.waiting.length;
    if (!last) {
      while (cut >= REACH && this.waiting.slice(cut - REACH, cut).includes(" ")) cut -= 1;
      if (cut < REACH) cut = 0;
    }
    const ready = this.waiting.slice(0, cut);
    this.waiting = this.waiting.slice(cut);
    return replaceAll(CLEAN, ready);
  }
}

function speller(spec) {
  return { byte_fallback: byteFallback, byte_level: byteLevel, wordpiece, metaspace }[spec.family](spec);
}

/** GPT-2's character of every byte (openai/gpt-2, encoder.py, bytes_to_unicode). */
const BYTE_OF = (() => {
  const isPlain = (b) => (b >= 0x21 && b < 0x7f) || (b >= 0xa1 && b < 0xad) || b >= 0xae;
  const bytes = Array.from({ length: 256 }, (_, b) => b);
  const pairs = bytes.filter(isPlain).map((b) => [String.fromCharCode(b), b]);
  const others = bytes.filter((b) => !isPlain(b)).map((b, n) => [String.fromCharCode(0x100 + n), b]);
  return new Map([...pairs, ...others]);
})();

function byteLevel() {
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  const encoder = new TextEncoder();
  return {
    push(token) {
      const bytes = [...token].map((character) => BYTE_OF.get(character));
      const data = bytes.includes(undefined) ? encoder.encode(token) : Uint8Array.from(bytes);
      return utf8.decode(data, { stream: true });
    },
    finish: () => utf8.decode(),
  };
}

/** <0xNN> is a byte. A run of bytes is text if all of it is UTF-8, else one U+FFFD per byte. */
function byteFallback({ space, strip }) {
  let run = [];
  let left = strip;
  const endRun = () => {
    const bytes = run;
    run = [];
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
    } catch {
      return "\ufffd".repeat(bytes.length);
    }
  };
  const stripped = (given) => {
    let made = given;
    while (left > 0 && made) {
      if (!made.startsWith(" ")) {
        left = 0;
        break;
      }
      made = made.slice(1);
      left -= 1;
    }
    return made;
  };
  return {
    push(token) {
      const byte = BYTE.exec(token);
      if (byte) {
        run.push(parseInt(byte[1], 16));
        return "";
      }
      return stripped(endRun() + token.replaceAll(space, () => " "));
    },
    finish: () => stripped(endRun()),
  };
}

function wordpiece({ prefix, clean_tokens: clean }) {
  let first = true;
  return {
    push(token) {
      let made = token;
      if (!first) made = token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      first = false;
      return clean ? replaceAll(CLEAN_TOKEN, made) : made;
    },
    finish: () => "",
  };
}

function metaspace({ space, drop_first: drop }) {
  let written = drop ? "" : " ";
  return {
    push(token) {
      const made = token.replaceAll(space, () => written);
      written = " ";
      return made;
    },
    finish: () => "",
  };
}
