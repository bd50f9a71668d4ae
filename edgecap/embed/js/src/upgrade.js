/**
 * A manifest of schema 1 in the terms of schema 2, so that one kind of bundle is run. Schema 1
 * describes one architecture: its cache holds image rows and then text rows of all layers, a prompt
 * is a language and a style, and boxes are four edges. Letters as in interface.js, and L layers, H
 * heads, h and w of the image in px.
 */
import { EdgecapError } from "./errors.js";
import { encodedShape, newName, stepShape } from "./interface.js";
import { checkManifest2, promptName } from "./schema2.js";

// Others are left out: nothing here calls them.
const FUNCTIONS = { encode_image: "encode", decode: "decode", decode_attention: "decode_attention", encode_text: "encode_text" };
const OUTPUTS = { k_new: "new_k", v_new: "new_v" };

/** The same bundle in schema 2; `tokenizer`: its own. Refuses (tokenizer.*) one that does not fit. */
export function upgraded(old, tokenizer) {
  const { contract, coordinates: place } = old;
  const { vocabulary: V, text_length: T } = contract;
  if (tokenizer.size > V) {
    throw new EdgecapError("tokenizer.size", `the tokenizer has ${tokenizer.size} tokens and the model ${V}.`);
  }
  const first = tokenizer.idOf(place.first);
  if (first + place.bins > tokenizer.size) {
    throw new EdgecapError("tokenizer.token", `there are fewer than ${place.bins} locations.`);
  }
  const [pad, eos, text] = [old.tokenizer.pad, old.tokenizer.eos, old.tokenizer.text].map((token) => tokenizer.idOf(token));
  const functions = renamed(contract.functions);
  const manifest = {
    schema: 2,
    name: old.name,
    model: { family: "edgecap", source: old.model, license: old.license, weights: old.weights },
    format: old.format,
    precision: old.precision,
    interface: interfaceOf(old, functions),
    functions,
    image: imageSpec(old.preprocessing),
    tokenizer: old.tokenizer.file,
    encoder: old.tokenizer.file,
    prompts: promptsOf(old, (lang, style) => ({
      ...GREEDY, begin: [tokenizer.idOf(`<${lang}>`), tokenizer.idOf(`<${style}>`)], eos: [eos], pad, max_new_tokens: T - 2,
    })),
    regions: { codec: "edges4", first, count: place.bins, bin_px: place.bin_px, marks: {} },
    plan: old.plan,
    tools: old.tools,
    files: old.files,
    languages: old.languages,
    styles: old.styles,
    grammar: old.grammar,
    texts: { begin: [text], end: [eos], pad },
  };
  checkManifest2(manifest);
  return manifest;
}

/** The image processing of schema 1 in the terms of schema 2. */
export function imageSpec({ size, fit, resample, fill, channels }) {
  return { size: [size, size], fit, filter: resample, background: fill, wide: "high_byte", crop: null, fill, channels, crops: null };
}

const GREEDY = {
  prefix: [], min_new_tokens: 0, beams: 1, length_penalty: 1, early_stopping: "ended", repetition_penalty: 1,
  no_repeat_ngram: 0, suppress: [], suppress_first: [], suppress_first_at: 0, forced_first: null, forced_last: [], sampling: null,
};

function promptsOf({ languages, styles }, specOf) {
  return Object.fromEntries(languages.flatMap((lang) => styles.map((style) => [promptName(lang, style), specOf(lang, style)])));
}

function renamed(functions) {
  const known = Object.entries(functions).filter(([name]) => Object.hasOwn(FUNCTIONS, name));
  const outputs = (given) => Object.fromEntries(Object.entries(given).map(([name, target]) => [OUTPUTS[name] ?? name, target]));
  return Object.fromEntries(known.map(([name, one]) => [FUNCTIONS[name], { ...one, outputs: outputs(one.outputs) }]));
}

function interfaceOf({ contract, preprocessing: { size } }, functions) {
  const { layers, heads, head_width, patches, text_length, vocabulary, embedding, cache, batch } = contract;
  const dims = {
    L: layers, H: heads, Dh: head_width, P: patches, T: text_length, C: patches + text_length, N: text_length,
    V: vocabulary, E: embedding, h: size, w: size,
  };
  const entry = (name, kind) => ({ name, role: "cache", kind, layer: 0, shape: ["L", "B", "H", "C", "Dh"], dtype: cache });
  const state = [entry("k", "key"), entry("v", "value")];
  const f32 = (...shape) => ({ dtype: "float32", shape: ["B", ...shape] });
  const i32 = (...shape) => ({ dtype: "int32", shape: ["B", ...shape] });
  const tensors = (nameOf, shapeOf) => Object.fromEntries(state.map((e) => [nameOf(e), { dtype: cache, shape: shapeOf(e) }]));
  const name = (e) => e.name;
  const inputs = { token: i32(1), position: i32(), ...tensors(name, (e) => e.shape) };
  const outputs = { logits: f32("V"), ...tensors(newName, stepShape) };
  const specs = {
    encode: {
      inputs: { image: { dtype: "uint8", shape: ["B", "h", "w", 3] } },
      outputs: { ...tensors(name, encodedShape), image_embedding: f32("E") },
    },
    decode: { inputs, outputs: { ...outputs, attention: f32("P") } },
    decode_attention: { inputs, outputs: { ...outputs, attention: f32("L", "H", "P") } },
    encode_text: { inputs: { tokens: i32("N"), length: i32() }, outputs: { text_embedding: f32("E") } },
  };
  const grid = Math.round(Math.sqrt(patches));
  return {
    dims,
    functions: Object.keys(functions).map((one) => ({ name: one, ...specs[one] })),
    state,
    attention: { rows: grid, columns: grid, first: 0 },
    batch,
  };
}
