/** Schema 2: a model described by its interface. Shapes and checks; letters as in SPEC.md. */
import { EdgecapError } from "./errors.js";
import { MANIFEST, checkListed } from "./file_names.js";
import { GRAMMAR, checkGrammar } from "./grammar.js";
import { INTERFACE, checkInterface, functionNamed, imageOf, sizesOf } from "./interface.js";
import { FUNCTION, any, bool, list, optional, real, record, sameNames, table, text, whole } from "./typed.js";

const FUNCTIONS = ["encode_crop", "encode", "decode", "decode_attention", "decode_stateful", "extend", "encode_text"];
const CODECS = {
  edges4: [],
  cells2: ["phrase", "end_phrase", "object", "end_object", "delimiter"],
  loc1000: [],
  loc1024: [],
};
const MAX_SIDE = 4096;
const MAX_IDS = 1 << 16;

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
export const SHAPE_2 = record(
  {
    schema: whole,
    name: text,
    model: record({ family: text, source: text, license: text, weights: optional(text) }, { weights: null }),
    format: text,
    precision: text,
    interface: INTERFACE,
    functions: table(FUNCTION),
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
    // Only of models whose prompts are one per language and style:
    languages: list(text),
    styles: list(text),
    grammar: optional(GRAMMAR),
    texts: optional(record({ begin: ids, end: ids, pad: whole })),
  },
  { languages: [], styles: [], grammar: null, texts: null },
);

const refuse = (code) => (message) => {
  throw new EdgecapError(code, `${MANIFEST}: ${message}.`, "Export the bundle again.");
};
const bad = refuse("bundle.manifest");
const badInterface = refuse("bundle.interface");
const badImage = refuse("bundle.image");
const badGeneration = refuse("bundle.generation");
const badRegions = refuse("bundle.regions");

/** Refuses a manifest that does not agree with itself or with what a host can do. */
export function checkManifest2(manifest) {
  checkInterface(manifest.interface);
  checkImage(manifest.image);
  checkFunctions(manifest);
  checkText(manifest);
  const { dims } = manifest.interface;
  const [, h, w] = sizesOf(dims, imageOf(manifest.interface).shape);
  const [ih, iw] = inputSize(manifest.image);
  if (ih !== h || iw !== w) bad(`image gives ${ih} x ${iw}, and encode takes ${h} x ${w}`);
  const most = mostCrops(manifest.image);
  if (most > 1 !== (functionNamed(manifest.interface, "encode_crop") !== undefined)) {
    bad("a model has encode_crop if its image is split into crops, and only then");
  }
  if (most > 1 && most !== dims.n) bad(`an image makes up to ${most} crops, and dims.n is ${dims.n}`);
  const { weights } = manifest.model;
  if (weights !== null && !/^[0-9a-f]{64}$/.test(weights)) bad("model.weights must be null or a SHA-256");
}

/** The name of the prompt of a language and a style. */
export const promptName = (language, style) => `${language}.${style}`;

/** [h, w] of one crop. */
export const inputSize = (image) => (image.crops ? [image.crops.side, image.crops.side] : image.crop ?? image.size);

/** How many crops an image makes at most: 1, or m * m + 1 where m of them lie on its longer side. */
function mostCrops({ size: [edge], crops }) {
  const across = crops?.split ? Math.ceil(edge / crops.side) : 1;
  return across > 1 ? across ** 2 + 1 : 1;
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
  if (!spec.crops) return;
  const { side, split } = spec.crops;
  sides("crops.side", [side, side]);
  // longest_edge makes odd sides a pixel longer: one crop more than a grid has.
  if (split && spec.size[0] % 2 && spec.size[0] % side === 0) badImage(`image.size must be even where crops.side, ${side}, divides it`);
}

function checkFunctions({ interface: spec, functions, files }) {
  const declared = spec.functions.map((f) => f.name);
  if (!sameNames(Object.keys(functions), declared) || !declared.every((name) => FUNCTIONS.includes(name))) {
    bad(`functions must be those of the interface; known: ${FUNCTIONS.join(", ")}`);
  }
  for (const f of spec.functions) {
    const { file, inputs, outputs } = functions[f.name];
    const maps = [[inputs, f.inputs], [outputs, f.outputs]];
    if (!maps.every(([given, tensors]) => sameNames(Object.keys(given), Object.keys(tensors)))) {
      bad(`functions.${f.name} must map exactly the tensors of the interface`);
    }
    checkListed(files, file, `${file} of ${f.name}`);
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
  if (manifest.grammar) checkGrammar(manifest.grammar, V);
  const { languages, styles } = manifest;
  if (languages.length > 0 !== styles.length > 0) bad("languages and styles go together");
  const needed = languages.flatMap((language) => styles.map((style) => promptName(language, style)));
  if (needed.length && !sameNames(new Set(needed), Object.keys(manifest.prompts))) {
    bad("there must be a prompt for each language and style, and no other");
  }
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
  if (!["heuristic", "first", "never", "ended"].includes(spec.early_stopping)) badGeneration(`${where}.early_stopping is ${spec.early_stopping}`);
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
  if (!sameNames(Object.keys(spec.marks), CODECS[spec.codec])) badRegions(`regions.marks must name ${CODECS[spec.codec].join(", ") || "nothing"}`);
  const marks = Object.values(spec.marks);
  const isPlace = (id) => id >= spec.first && id < spec.first + spec.count;
  if (new Set(marks).size !== marks.length || marks.some((id) => id < 0 || isPlace(id))) {
    badRegions("regions.marks must be different ids beside the places");
  }
  if (Math.max(spec.first + spec.count - 1, ...marks) >= V) badRegions(`regions has an id beyond the ${V} of the vocabulary`);
}
