/**
 * Strict JSON. JSON.parse cannot tell 1 from 1.0, keeps the last of two equal keys and rounds large
 * integers; a bundle's manifest needs all three told apart, so that every language refuses alike.
 *
 * Whole numbers become numbers (BigInt beyond 2^53), others a Real.
 */
import { EdgecapError } from "./errors.js";

export const MAX_JSON_BYTES = 4 << 20;
const MAX_DEPTH = 500; // Python's own parser ends near 1000
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

/** A number that was written with a fraction or an exponent. */
export class Real {
  constructor(value) {
    this.value = value;
  }
}

/** Plain values without the distinction: for what is only read. */
export function plain(value) {
  if (value instanceof Real) return value.value;
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  }
  return value;
}

/** One UTF-8 JSON text as values; objects have no prototype. Errors: bundle.json, .duplicate_key, .oversized. */
export function parse(bytes, where, limit = MAX_JSON_BYTES) {
  if (bytes.length > limit) {
    throw new EdgecapError("bundle.oversized", `${where} has more than the ${limit} bytes that are read.`);
  }
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new EdgecapError("bundle.json", `${where} is not UTF-8.`);
  }
  return new Parser(text, where).whole();
}

class Parser {
  constructor(text, where) {
    this.text = text;
    this.where = where;
    this.at = 0;
  }

  whole() {
    const value = this.value(0);
    this.space();
    if (this.at < this.text.length) this.fail("something follows its end");
    return value;
  }

  fail(reason) {
    throw new EdgecapError("bundle.json", `${this.where} is not valid JSON: ${reason} (at ${this.at}).`);
  }

  space() {
    while (" \t\n\r".includes(this.text[this.at] ?? "x")) this.at += 1;
  }

  value(depth) {
    if (depth > MAX_DEPTH) this.fail("it is nested too deeply");
    this.space();
    const next = this.text[this.at];
    if (next === "{") return this.object(depth);
    if (next === "[") return this.array(depth);
    if (next === '"') return this.string();
    for (const [word, value] of [["true", true], ["false", false], ["null", null]]) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  number() {
    NUMBER.lastIndex = this.at;
    const match = NUMBER.exec(this.text);
    if (match === null) this.fail("a value is missing");
    this.at = NUMBER.lastIndex;
    if (match[1] !== undefined || match[2] !== undefined) return new Real(Number(match[0]));
    const value = Number(match[0]);
    return Number.isSafeInteger(value) ? value + 0 : BigInt(match[0]);
  }

  string() {
    let made = "";
    this.at += 1;
    for (;;) {
      PLAIN.lastIndex = this.at;
      made += PLAIN.exec(this.text)[0];
      this.at = PLAIN.lastIndex;
      const next = this.text[this.at];
      if (next === '"') {
        this.at += 1;
        return made;
      }
      if (next !== "\\") this.fail("a text does not end, or holds a control character");
      const kind = this.text[this.at + 1];
      if (kind === "u") {
        const digits = this.text.slice(this.at + 2, this.at + 6);
        if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.fail("\\u needs four digits");
        made += String.fromCharCode(parseInt(digits, 16));
        this.at += 6;
      } else {
        if (!(kind in ESCAPES)) this.fail("an escape is unknown");
        made += ESCAPES[kind];
        this.at += 2;
      }
    }
  }

  array(depth) {
    const items = [];
    this.at += 1;
    this.space();
    if (this.text[this.at] === "]") {
      this.at += 1;
      return items;
    }
    for (;;) {
      items.push(this.value(depth + 1));
      if (this.end("]")) return items;
    }
  }

  object(depth) {
    const table = Object.create(null);
    this.at += 1;
    this.space();
    if (this.text[this.at] === "}") {
      this.at += 1;
      return table;
    }
    for (;;) {
      this.space();
      if (this.text[this.at] !== '"') this.fail("a key is missing");
      const key = this.string();
      if (key in table) {
        throw new EdgecapError("bundle.duplicate_key", `${this.where} has the key ${JSON.stringify(key)} twice.`);
      }
      this.space();
      if (this.text[this.at] !== ":") this.fail("a colon is missing");
      this.at += 1;
      table[key] = this.value(depth + 1);
      if (this.end("}")) return table;
    }
  }

  /** Whether the closing mark comes; else a comma does. */
  end(mark) {
    this.space();
    const next = this.text[this.at];
    if (next !== mark && next !== ",") this.fail(`${mark} or a comma is missing`);
    this.at += 1;
    return next === mark;
  }
}
