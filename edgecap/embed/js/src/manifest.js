/** What a bundle says about itself, both schemas, checked as SPEC.md says. Letters as there. */
import { EdgecapError } from "./errors.js";
import { GRAMMAR, checkGrammar } from "./grammar.js";
import { MAX_JSON_BYTES, Real, parse } from "./json.js";
import { SHAPE_2, checkManifest2 } from "./manifest2.js";
import { any, list, optional, record, table, text, whole } from "./typed.js";

export const MANIFEST = "manifest.json";
const MAX_CACHE_BYTES = 2 ** 31;
const MAX_FOLDERS = 4;
const DECODE = [["token", "position", "k", "v"], ["logits", "k_new", "v_new", "attention"]];
const NEEDED = {
  encode_image: [["image"], ["k", "v", "image_embedding"]],
  decode: DECODE,
  encode_text: [["tokens", "length"], ["text_embedding"]],
};
const KNOWN = {
  ...NEEDED,
  decode_stateful: [["token", "position", "k_image", "v_image"], ["logits", "attention"]],
  decode_attention: DECODE,
  extend: [["tokens", "position", "k", "v"], ["logits", "k_new", "v_new"]],
};

const FUNCTION = record({ file: text, entry: text, inputs: table(text), outputs: table(text) });
const FILE = record({ sha256: text, size: whole });
const SHAPE_1 = record(
  {
    schema: whole,
    name: text,
    model: text,
    format: text,
    precision: text,
    contract: record({
      layers: whole, heads: whole, head_width: whole, patches: whole, text_length: whole,
      vocabulary: whole, embedding: whole, cache: text, batch: optional(whole), functions: table(FUNCTION),
    }),
    preprocessing: record({ size: whole, fit: text, resample: text, anchor: text, fill: whole, channels: text }),
    tokenizer: record({ file: text, sha256: text, pad: text, eos: text, text }),
    languages: list(text),
    styles: list(text),
    coordinates: record({ order: text, bins: whole, bin_px: whole, first: text }),
    grammar: GRAMMAR,
    plan: table(any),
    tools: table(text),
    license: text,
    files: table(FILE),
    weights: optional(text),
  },
  { weights: null },
);

function bad(message) {
  throw new EdgecapError("bundle.manifest", `${MANIFEST}: ${message}.`);
}

/** A checked manifest from the bytes of manifest.json. */
export function readManifest(bytes) {
  const value = parse(bytes, MANIFEST, MAX_JSON_BYTES);
  // 1.0 and true equal 1 where the reference looks; both are refused by their type afterwards.
  const schema = value?.schema instanceof Real ? value.schema.value : Number(value?.schema ?? NaN);
  if (value === null || typeof value !== "object" || typeof value.schema === "string" || ![1, 2].includes(schema)) {
    throw new EdgecapError(
      "bundle.schema",
      `${MANIFEST} has schema ${JSON.stringify(value?.schema)}; schemas 1 and 2 are read.`,
      "Export the bundle again, or use the edgecap that wrote it.",
    );
  }
  if (schema === 2) {
    const manifest = SHAPE_2(value, "manifest");
    checkFiles(manifest);
    checkManifest2(manifest);
    return manifest;
  }
  const manifest = SHAPE_1(value, "manifest");
  checkFiles(manifest);
  checkManifest1(manifest);
  return manifest;
}

/** Where each function lies, of either schema. */
export const functionsOf = (manifest) => manifest.functions ?? manifest.contract.functions;

function checkFiles({ files }) {
  for (const [name, entry] of Object.entries(files)) {
    checkName(name);
    if (!/^[0-9a-f]{64}$/.test(entry.sha256) || entry.size < 0) bad(`files.${name} has no valid SHA-256 and size`);
  }
  const names = Object.keys(files);
  if (new Set(names.map((name) => name.toLowerCase())).size !== names.length) {
    bad("two files differ in upper and lower case only");
  }
}

/** Whether a name is a relative path of letters, digits, _ - . at most four folders deep. */
export function isPlainPath(name) {
  const parts = name.split("/");
  return parts.every((part) => /^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/.test(part)) && parts.length <= MAX_FOLDERS + 1;
}

function checkName(name) {
  if (!isPlainPath(name)) {
    throw new EdgecapError(
      "bundle.path",
      `${JSON.stringify(name)} is not a plain path inside the bundle (letters, digits, _ - . and /).`,
    );
  }
  if (name === MANIFEST) throw new EdgecapError("bundle.path", `${MANIFEST} must not list itself.`);
}

const isListed = (files, name) =>
  Object.hasOwn({ ...files }, name) ||
  (name.endsWith(".mlpackage") && Object.keys(files).some((file) => file.startsWith(`${name}/`)));

const sameNames = (record_, names) => Object.keys(record_).sort().join() === [...names].sort().join();

function checkManifest1(manifest) {
  checkContract(manifest);
  const { preprocessing: p, coordinates: c } = manifest;
  if (p.fit !== "contain" || p.resample !== "bilinear" || p.anchor !== "centre" || p.channels !== "RGB") {
    bad(`preprocessing ${p.fit} ${p.resample} ${p.anchor} ${p.channels} is not one this edgecap knows`);
  }
  if (p.size < 1 || p.size > 4096 || p.fill < 0 || p.fill > 255) bad("preprocessing.size must be 1-4096 and fill 0-255");
  if (c.order !== "x0y0x1y1" || c.bins < 2 || c.bin_px < 1) bad(`coordinates ${c.order} with ${c.bins} bins are not known`);
  checkGrammar(manifest.grammar, manifest.contract.vocabulary);
  if (manifest.weights !== null && !/^[0-9a-f]{64}$/.test(manifest.weights)) bad("weights must be null or a SHA-256");
  if (!manifest.languages.length || !manifest.styles.length) bad("languages and styles must not be empty");
  const { file, sha256 } = manifest.tokenizer;
  if (!(file in manifest.files)) throw new EdgecapError("bundle.missing_file", `${file} is not listed.`);
  if (manifest.files[file].sha256 !== sha256) bad("tokenizer.sha256 is not that of the tokenizer file");
}

function checkContract({ contract, files }) {
  const { layers, heads, head_width: width, patches, text_length: rows, vocabulary, embedding } = contract;
  const grid = Math.round(Math.sqrt(patches));
  if (Math.min(layers, heads, width, patches, rows, vocabulary, embedding) < 1 || grid * grid !== patches) {
    bad("contract sizes must be positive and patches a square number");
  }
  const bytes = 8 * layers * heads * (patches + rows) * width;
  if (bytes > MAX_CACHE_BYTES || vocabulary > 2 ** 22 || embedding > 2 ** 16) {
    throw new EdgecapError("bundle.oversized", `a cache of ${bytes} bytes is too large.`);
  }
  if (!["float32", "float16"].includes(contract.cache)) bad(`contract.cache is ${contract.cache}; allowed: float32, float16`);
  if (![null, 1].includes(contract.batch)) bad("contract.batch must be null (any) or 1");
  const given = Object.keys(contract.functions);
  if (!Object.keys(NEEDED).every((n) => given.includes(n)) || !given.every((n) => Object.hasOwn(KNOWN, n))) {
    bad(`contract.functions must be ${Object.keys(NEEDED).join(", ")}; got others or fewer`);
  }
  for (const [name, spec] of Object.entries(contract.functions)) {
    const [inputs, outputs] = KNOWN[name];
    if (!sameNames(spec.inputs, inputs) || !sameNames(spec.outputs, outputs)) {
      bad(`${name} must map exactly ${inputs.join(", ")} to ${outputs.join(", ")}`);
    }
    if (!isListed(files, spec.file)) throw new EdgecapError("bundle.missing_file", `${spec.file} of ${name} is not listed.`);
  }
}
