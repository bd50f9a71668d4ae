/** Schema 1: one architecture with a cache, languages, styles and boxes. Its shape and checks. */
import { EdgecapError } from "./errors.js";
import { MANIFEST, checkListed } from "./file_names.js";
import { GRAMMAR, checkGrammar } from "./grammar.js";
import { FUNCTION, any, list, optional, record, sameNames, table, text, whole } from "./typed.js";

const MAX_CACHE_BYTES = 2 ** 31;
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

export const SHAPE_1 = record(
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
    files: table(record({ sha256: text, size: whole })),
    weights: optional(text),
  },
  { weights: null },
);

function bad(message) {
  throw new EdgecapError("bundle.manifest", `${MANIFEST}: ${message}.`);
}

/** Refuses a manifest that does not agree with itself or with what a host can do. */
export function checkManifest1(manifest) {
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
  checkListed(manifest.files, file);
  if (manifest.files[file]?.sha256 !== sha256) bad("tokenizer.sha256 is not that of the tokenizer file");
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
    if (!sameNames(Object.keys(spec.inputs), inputs) || !sameNames(Object.keys(spec.outputs), outputs)) {
      bad(`${name} must map exactly ${inputs.join(", ")} to ${outputs.join(", ")}`);
    }
    checkListed(files, spec.file, `${spec.file} of ${name}`);
  }
}
