/**
 * Values of strict JSON (json.js) against a shape: typed, no field unknown unless its name starts
 * with x_, none missing unless it has a default. Every refusal names the place.
 *
 * A shape is a function (value, where) -> plain value.
 */
import { EdgecapError } from "./errors.js";
import { Real, plain } from "./json.js";

function wrong(where, expected, value) {
  const shown = JSON.stringify(plain(value)).slice(0, 40);
  throw new EdgecapError("bundle.field_type", `${where} must be ${expected}, got ${shown}.`);
}

function sized(value, where) {
  const big = typeof value === "bigint" && (value < -(2n ** 63n) || value >= 2n ** 63n);
  if (big) throw new EdgecapError("bundle.field_type", `${where} is a number of more than 64 bits.`);
}

export function text(value, where) {
  sized(value, where);
  return typeof value === "string" ? value : wrong(where, "a text", value);
}

/** A whole number; one beyond 2^53 is far outside every limit and may be rounded. */
export function whole(value, where) {
  sized(value, where);
  if (typeof value === "bigint") return Number(value);
  return typeof value === "number" ? value : wrong(where, "a whole number", value);
}

export function real(value, where) {
  sized(value, where);
  const number = value instanceof Real ? value.value : typeof value === "bigint" ? Number(value) : value;
  if (typeof number !== "number") wrong(where, "a number", value);
  return Number.isFinite(number) ? number : wrong(where, "a finite number", value);
}

export function bool(value, where) {
  sized(value, where);
  return typeof value === "boolean" ? value : wrong(where, "true or false", value);
}

export const any = (value) => plain(value);

export const optional = (shape) => (value, where) => (value === null ? null : shape(value, where));

/** A whole number or a letter. */
export const size = (value, where) =>
  typeof value === "string" ? value : whole(value, where);

export const list = (shape) => (value, where) =>
  Array.isArray(value) ? value.map((item, i) => shape(item, `${where}[${i}]`)) : wrong(where, "a list", value);

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value) && !(value instanceof Real);
}

/** An object with any keys. */
export const table = (shape) => (value, where) => {
  if (!isObject(value)) wrong(where, "an object", value);
  const made = Object.create(null);
  for (const key of Object.keys(value)) made[key] = shape(value[key], `${where}.${key}`);
  return made;
};

/** An object of these fields; `defaults` are those that may be missing. */
export const record = (fields, defaults = {}) => (value, where) => {
  if (!isObject(value)) wrong(where, "an object", value);
  for (const key of Object.keys(value)) {
    if (!Object.hasOwn(fields, key) && !key.startsWith("x_")) {
      throw new EdgecapError(
        "bundle.unknown_field",
        `${where} has the unknown field ${JSON.stringify(key)}; known: ${Object.keys(fields).join(", ")}.`,
        "Names of your own must start with x_.",
      );
    }
  }
  for (const key of Object.keys(fields)) {
    if (!(key in value) && !Object.hasOwn(defaults, key)) {
      throw new EdgecapError("bundle.missing_field", `${where} lacks the field ${JSON.stringify(key)}.`);
    }
  }
  const made = {};
  for (const [key, shape] of Object.entries(fields)) {
    made[key] = key in value ? shape(value[key], `${where}.${key}`) : structuredClone(defaults[key]);
  }
  return made;
};

/** Where a function lies in a bundle, and how its file calls its tensors. */
export const FUNCTION = record({ file: text, entry: text, inputs: table(text), outputs: table(text) });

/** Whether two lists have the same names, in any order. */
export const sameNames = (given, names) => [...given].sort().join() === [...names].sort().join();
