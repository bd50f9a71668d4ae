/** Schema 2: a model described by its interface. Shapes and checks; letters as in SPEC.md. */
import { EdgecapError } from "./errors.js";
import { any, bool, list, optional, real, record, size, table, text, whole } from "./typed.js";

const DTYPES = { uint8: 1, int32: 4, float32: 4, float16: 2 };
const ROLES = ["image", "text", "rolling"];
const FUNCTIONS = ["encode", "decode", "encode_text"];
const CODECS = {
  edges4: [],
  cells2: ["phrase", "end_phrase", "object", "end_object", "delimiter"],
  loc1000: [],
  loc1024: [],
};
const MAX_SIDE = 4096;
const MAX_IDS = 1 << 16;

const TENSOR = record({ dtype: text, shape: list(size) });
const ids = list(whole);
export const GENERATION = record(
  {
    begin: ids, eos: ids, max_new_tokens: whole, pad: optional(whole), prefix: ids, min_new_tokens: whole,
    beams: whole, length_penalty: real, early_stopping: text, repetition_penalty: real, no_repeat_ngram: whole,
    suppress: ids, suppress_first: ids, suppress_first_at: whole, forced_first: optional(whole), forced_last: ids,
    sampling: optional(record({ temperature: real, top_k: whole, top_p: real }, { temperature: 1, top_k: 0, top_p: 1 })),
  },
  {
    pad: null, prefix: [], min_new_tokens: 0, beams: 1, length_penalty: 1, early_stopping: "heuristic",
    repetition_penalty: 1, no_repeat_ngram: 0, suppress: [], suppress_first: [], suppress_first_at: 0,
    forced_first: null, forced_last: [], sampling: null,
  },
);
export const IMAGE = record(
  {
    size: ids, fit: text, filter: text, background: optional(whole), wide: text, crop: optional(ids), fill: whole,
    channels: text, crops: optional(record({ side: whole, split: bool })),
  },
  { background: null, wide: "clip", crop: null, fill: 0, channels: "RGB", crops: null },
);
const INTERFACE = record(
  {
    dims: table(whole),
    functions: list(record({ name: text, inputs: table(TENSOR), outputs: table(TENSOR) })),
    state: list(record({ name: text, role: text, kind: text, layer: whole, shape: list(size), dtype: text })),
    attention: optional(record({ rows: whole, columns: whole, first: whole })),
    batch: optional(whole),
  },
  { attention: null, batch: null },
);
export const SHAPE_2 = record({
  schema: whole,
  name: text,
  model: record({ family: text, source: text, license: text, weights: optional(text) }, { weights: null }),
  format: text,
  precision: text,
  interface: INTERFACE,
  functions: table(record({ file: text, entry: text, inputs: table(text), outputs: table(text) })),
  image: IMAGE,
  tokenizer: optional(text),
  encoder: optional(text),
  prompts: table(GENERATION),
  regions: optional(
    record({ codec: text, first: whole, count: whole, bin_px: whole, marks: table(whole) }, { bin_px: 0 }),
  ),
  plan: table(any),
  tools: table(text),
  files: table(record({ sha256: text, size: whole })),
});

const refuse = (code) => (message) => {
  throw new EdgecapError(code, `manifest.json: ${message}.`, "Export the bundle again.");
};
const bad = refuse("bundle.manifest");
const badInterface = refuse("bundle.interface");
const badImage = refuse("bundle.image");
const badGeneration = refuse("bundle.generation");
const badRegions = refuse("bundle.regions");

const sameNames = (given, names) => Object.keys(given).sort().join() === [...names].sort().join();

/** A shape in numbers at batch 1. */
export const sizesOf = (dims, shape) =>
  shape.map((side) => (side === "B" ? 1 : typeof side === "string" ? dims[side] : side));

export const functionNamed = (interface_, name) => interface_.functions.find((spec) => spec.name === name);

/** The output of decode that carries a state entry's new row, or its replacement. */
export const newName = (entry) => `new_${entry.name}`;

/** Refuses a manifest that does not agree with itself or with what a host can do. */
export function checkManifest2(manifest) {
  checkInterface(manifest.interface);
  checkImage(manifest.image);
  checkFunctions(manifest);
  checkText(manifest);
  const [, h, w] = sizesOf(manifest.interface.dims, functionNamed(manifest.interface, "encode").inputs.image.shape);
  const [ih, iw] = inputSize(manifest.image);
  if (ih !== h || iw !== w) bad(`image gives ${ih} x ${iw}, and encode takes ${h} x ${w}`);
  const { weights } = manifest.model;
  if (weights !== null && !/^[0-9a-f]{64}$/.test(weights)) bad("model.weights must be null or a SHA-256");
}

/** [h, w] of one crop. */
export const inputSize = (image) => (image.crops ? [image.crops.side, image.crops.side] : image.crop ?? image.size);

function checkInterface(spec) {
  for (const [letter, value] of Object.entries(spec.dims)) {
    if (letter === "B" || value < 1 || value >= 2 ** 31) badInterface(`dims.${letter} is ${value}`);
  }
  if (![null, 1].includes(spec.batch)) badInterface(`batch is ${spec.batch}; allowed: null (any) and 1`);
  const entries = spec.state.map((entry) => entry.name);
  if (new Set(entries).size !== entries.length) badInterface("two state entries have one name");
  let bytes = 0;
  for (const entry of spec.state) {
    if (!/^[a-z][a-z0-9_]{0,63}$/.test(entry.name)) badInterface(`state entry ${entry.name} must be named in a-z, 0-9 and _`);
    if (!ROLES.includes(entry.role)) badInterface(`${entry.name}.role is ${entry.role}; allowed: ${ROLES.join(", ")}`);
    checkTensor(spec, entry.name, entry);
    if (entry.role === "text" && (entry.shape.length !== 4 || entry.shape[2] !== "T")) {
      badInterface(`${entry.name} is text and must have the shape [B,G,T,Dh]`);
    }
    bytes += sizesOf(spec.dims, entry.shape).reduce((a, b) => a * b, 1) * DTYPES[entry.dtype];
  }
  if (bytes > 2 ** 31) throw new EdgecapError("bundle.oversized", `a state of ${bytes} bytes is too large.`);
  const names = spec.functions.map((f) => f.name);
  if (new Set(names).size !== names.length || !names.includes("encode")) {
    badInterface(`functions are ${names.join(", ")}; encode is needed, and each once`);
  }
  for (const f of spec.functions) {
    for (const [name, tensor] of Object.entries({ ...f.inputs, ...f.outputs })) checkTensor(spec, `${f.name}.${name}`, tensor);
  }
  checkContract(spec);
}

function checkTensor(spec, name, { dtype, shape }) {
  if (!Object.hasOwn(DTYPES, dtype)) badInterface(`${name} is ${dtype}; allowed: ${Object.keys(DTYPES).join(", ")}`);
  if (shape[0] !== "B") badInterface(`${name} must have the batch B first`);
  for (const side of shape.slice(1)) {
    if (!(typeof side === "string" ? side in spec.dims : side >= 1)) {
      badInterface(`${name} has the size ${side}, which dims does not bind`);
    }
  }
}

function checkContract(spec) {
  const of = (...roles) => spec.state.filter((entry) => roles.includes(entry.role));
  const without = (record_, extra) => Object.keys(record_).filter((name) => name !== extra);
  const alike = (names, expected) => [...names].sort().join() === [...expected].sort().join();
  const encode = functionNamed(spec, "encode");
  const seen = of("image", "rolling").map((entry) => entry.name);
  if (!sameNames(encode.inputs, ["image"]) || !alike(without(encode.outputs, "image_embedding"), seen)) {
    badInterface("encode must map image to every image and rolling entry, and nothing else");
  }
  const decode = functionNamed(spec, "decode");
  if (decode) {
    if (!sameNames(decode.inputs, ["token", "position", ...spec.state.map((entry) => entry.name)])) {
      badInterface("decode must take token, position and every state entry");
    }
    if (!alike(without(decode.outputs, "attention"), ["logits", ...of("text", "rolling").map(newName)])) {
      badInterface("decode must give logits and new_<entry> for text and rolling entries");
    }
    if ((spec.attention === null) === "attention" in decode.outputs) {
      badInterface("attention must be given by decode where its grid is, and only there");
    }
  } else if (spec.state.length || !("image_embedding" in encode.outputs)) {
    badInterface("a model without decode keeps no state and must give an image embedding");
  }
  const embed = functionNamed(spec, "encode_text");
  if (embed && !(sameNames(embed.inputs, ["tokens", "length"]) && sameNames(embed.outputs, ["text_embedding"]))) {
    badInterface("encode_text must map tokens and length to text_embedding");
  }
}

function checkImage(spec) {
  const choice = (name, value, allowed) => {
    if (!allowed.includes(value)) badImage(`image.${name} is ${value}; allowed: ${allowed.join(", ")}`);
  };
  const sides = (name, value) => {
    if (value.length !== 2 || !value.every((side) => side >= 1 && side <= MAX_SIDE)) {
      badImage(`image.${name} is ${value}; allowed: two sides of 1-${MAX_SIDE} px`);
    }
  };
  choice("fit", spec.fit, ["contain", "cover", "stretch", "thumbnail", "longest_edge"]);
  choice("filter", spec.filter, ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]);
  choice("channels", spec.channels, ["RGB", "BGR"]);
  choice("wide", spec.wide, ["clip", "high_byte"]);
  sides("size", spec.size);
  for (const name of ["fill", "background"]) {
    if (spec[name] !== null && (spec[name] < 0 || spec[name] > 255)) badImage(`image.${name} is ${spec[name]}; allowed: 0-255`);
  }
  if (spec.crop) sides("crop", spec.crop);
  if (["cover", "longest_edge"].includes(spec.fit) && spec.size[0] !== spec.size[1]) badImage(`image.size must name one edge twice`);
  if (spec.fit === "cover" && !spec.crop) badImage("image.crop is needed where fit is cover");
  if (spec.crop && !["cover", "stretch"].includes(spec.fit)) badImage(`image.crop goes with fit cover or stretch`);
  if ((spec.fit === "longest_edge") !== (spec.crops !== null)) badImage("image.crops goes with fit longest_edge, and only with it");
  if (spec.crops) sides("crops.side", [spec.crops.side, spec.crops.side]);
}

function checkFunctions({ interface: spec, functions, files }) {
  const declared = spec.functions.map((f) => f.name);
  if (!sameNames(functions, declared) || !declared.every((name) => FUNCTIONS.includes(name))) {
    bad(`functions must be those of the interface; known: ${FUNCTIONS.join(", ")}`);
  }
  for (const f of spec.functions) {
    const there = functions[f.name];
    if (!sameNames(there.inputs, Object.keys(f.inputs)) || !sameNames(there.outputs, Object.keys(f.outputs))) {
      bad(`functions.${f.name} must map exactly the tensors of the interface`);
    }
    const isPackage = there.file.endsWith(".mlpackage") && Object.keys(files).some((n) => n.startsWith(`${there.file}/`));
    if (!isPackage && !(there.file in files)) {
      throw new EdgecapError("bundle.missing_file", `${there.file} of ${f.name} is not listed.`);
    }
  }
}

function checkText(manifest) {
  const captions = functionNamed(manifest.interface, "decode") !== undefined;
  const prompts = Object.entries(manifest.prompts);
  if (captions !== (manifest.tokenizer !== null) || captions !== prompts.length > 0) {
    bad("a model needs a tokenizer and prompts if it has decode, and only then");
  }
  for (const file of [manifest.tokenizer, manifest.encoder]) {
    if (file !== null && !(file in manifest.files)) throw new EdgecapError("bundle.missing_file", `${file} is not listed.`);
  }
  if (!captions) return;
  const { V, T } = manifest.interface.dims;
  if (T === undefined) badInterface("interface.dims lacks T, the text rows");
  for (const [name, spec] of prompts) {
    checkGeneration(spec, `prompts.${name}`, V);
    if (spec.begin.length + spec.max_new_tokens - 1 > T) {
      bad(`prompts.${name} feeds ${spec.begin.length} ids and generates up to ${spec.max_new_tokens}; the state has ${T} text rows`);
    }
  }
  if (manifest.regions) checkRegions(manifest.regions, V);
}

function checkGeneration(spec, where, V) {
  const one = (value) => (value === null ? [] : [value]);
  const lists = {
    begin: spec.begin, prefix: spec.prefix, eos: spec.eos, pad: one(spec.pad), suppress: spec.suppress,
    suppress_first: spec.suppress_first, forced_first: one(spec.forced_first), forced_last: spec.forced_last,
  };
  for (const [name, given] of Object.entries(lists)) {
    if (given.length > MAX_IDS || given.some((id) => id < 0)) badGeneration(`${where}.${name} must be at most ${MAX_IDS} ids of 0 or more`);
    if (name !== "prefix" && given.some((id) => id >= V)) badGeneration(`${where}.${name} has an id beyond the ${V} of the vocabulary`);
  }
  const inside = (name, value, from, to) => {
    if (!(value >= from && value <= to)) badGeneration(`${where}.${name} is ${value}; allowed: ${from} … ${to}`);
  };
  if (!spec.begin.length) badGeneration(`${where}.begin is empty: decode has nothing to begin with`);
  for (const forced of [lists.forced_first, spec.forced_last]) {
    if (forced.length && forced.every((id) => spec.suppress.includes(id))) badGeneration(`${where}: every forced id is also suppressed`);
  }
  inside("max_new_tokens", spec.max_new_tokens, 1, 1 << 16);
  inside("min_new_tokens", spec.min_new_tokens, 0, spec.max_new_tokens);
  inside("beams", spec.beams, 1, 32);
  if (!["heuristic", "first", "never"].includes(spec.early_stopping)) badGeneration(`${where}.early_stopping is ${spec.early_stopping}`);
  inside("length_penalty", spec.length_penalty, -100, 100);
  inside("repetition_penalty", spec.repetition_penalty, Number.MIN_VALUE, 100);
  inside("no_repeat_ngram", spec.no_repeat_ngram, 0, 1 << 16);
  inside("suppress_first_at", spec.suppress_first_at, 0, Infinity);
  if (spec.sampling) {
    inside("sampling.temperature", spec.sampling.temperature, Number.MIN_VALUE, 100);
    inside("sampling.top_k", spec.sampling.top_k, 0, Infinity);
    inside("sampling.top_p", spec.sampling.top_p, Number.MIN_VALUE, 1);
  }
}

function checkRegions(spec, V) {
  if (!Object.hasOwn(CODECS, spec.codec)) badRegions(`regions.codec is ${spec.codec}; allowed: ${Object.keys(CODECS).join(", ")}`);
  if (spec.first < 0 || spec.count < 2 || spec.count > MAX_IDS) badRegions(`regions must have a first id of 0 or more and 2-${MAX_IDS} places`);
  if ((spec.codec === "edges4") !== spec.bin_px > 0 || spec.bin_px < 0 || spec.bin_px > 4096) {
    badRegions("regions.bin_px goes with edges4 and is 1-4096 there");
  }
  if (spec.codec === "cells2" && Math.floor(Math.sqrt(spec.count)) ** 2 !== spec.count) badRegions(`regions.count is no square grid`);
  if (!sameNames(spec.marks, CODECS[spec.codec])) badRegions(`regions.marks must name ${CODECS[spec.codec].join(", ") || "nothing"}`);
  const marks = Object.values(spec.marks);
  const isPlace = (id) => id >= spec.first && id < spec.first + spec.count;
  if (new Set(marks).size !== marks.length || marks.some((id) => id < 0 || isPlace(id))) {
    badRegions("regions.marks must be different ids beside the places");
  }
  if (Math.max(spec.first + spec.count - 1, ...marks) >= V) badRegions(`regions has an id beyond the ${V} of the vocabulary`);
}
