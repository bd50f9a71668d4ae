/**
 * The interface of a model: its functions, and the state between them. Shapes and checks.
 * Letters: B batch, P image rows, T text rows, C = P + T rows of a cache, G key/value heads, Dh head
 * width, V vocabulary, E embedding, N tokens of a text, n crops of an image at most, F rows of a crop,
 * D their width. `dims` binds every letter but B.
 */
import { EdgecapError } from "./errors.js";
import { list, optional, record, sameNames, size, table, text, whole } from "./typed.js";

const DTYPES = { uint8: 1, int32: 4, float32: 4, float16: 2 }; // bytes of one number
const ROLES = ["image", "text", "cache", "rolling"];
const MAX_STATE_BYTES = 2 ** 31;

const TENSOR = record({ dtype: text, shape: list(size) });
export const INTERFACE = record(
  {
    dims: table(whole),
    functions: list(record({ name: text, inputs: table(TENSOR), outputs: table(TENSOR) })),
    state: list(record({ name: text, role: text, kind: text, layer: whole, shape: list(size), dtype: text })),
    attention: optional(record({ rows: whole, columns: whole, first: whole })),
    batch: optional(whole),
  },
  { attention: null, batch: null },
);

function bad(message) {
  throw new EdgecapError("bundle.interface", `interface: ${message}.`, "Export the bundle again.");
}

/** A shape in numbers at batch 1. */
export const sizesOf = (dims, shape) =>
  shape.map((side) => (side === "B" ? 1 : typeof side === "string" ? dims[side] : side));

/** The function called `name`; undefined where the model has none. */
export const functionNamed = (interface_, name) => interface_.functions.find((spec) => spec.name === name);

/** What an image, or a crop of one, is given as. */
export const imageOf = (interface_) => (functionNamed(interface_, "encode_crop") ?? functionNamed(interface_, "encode")).inputs.image;

/** The output of decode that carries a state entry's new row, or its replacement. */
export const newName = (entry) => `new_${entry.name}`;

/** The input of decode_stateful with the image rows of a cache entry. */
const imageName = (entry) => `${entry.name}_image`;

/** Whether the host writes a new row of this entry in each step. */
export const hasRows = (entry) => entry.role === "text" || entry.role === "cache";

/** The shape of an entry as `encode` gives it: of a cache the image rows alone. */
export const encodedShape = ({ role, shape }) => (role === "cache" ? [...shape.slice(0, -2), "P", shape.at(-1)] : shape);

/** The shape of what `decode` gives for an entry: one row, or all of a rolling one. */
export const stepShape = (entry) => (hasRows(entry) ? [...entry.shape.slice(0, -2), 1, entry.shape.at(-1)] : entry.shape);

/** Refuses (bundle.interface, bundle.oversized) an interface that no host can run. */
export function checkInterface(spec) {
  for (const [letter, value] of Object.entries(spec.dims)) {
    if (letter === "B" || value < 1 || value >= 2 ** 31) bad(`dims.${letter} is ${value}`);
  }
  if (![null, 1].includes(spec.batch)) bad(`batch is ${spec.batch}; allowed: null (any) and 1`);
  checkState(spec);
  const names = spec.functions.map((f) => f.name);
  if (new Set(names).size !== names.length || !names.includes("encode")) {
    bad(`functions are ${names.join(", ")}; encode is needed, and each once`);
  }
  const caches = spec.state.filter(({ role }) => role === "cache");
  const cached = caches.flatMap((entry) => [entry.name, newName(entry), imageName(entry)]);
  for (const f of spec.functions) {
    for (const [name, tensor] of [...Object.entries(f.inputs), ...Object.entries(f.outputs)]) {
      checkTensor(spec, `${f.name}.${name}`, tensor, !cached.includes(name));
    }
  }
  checkContract(spec);
}

function checkState(spec) {
  const { dims, state } = spec;
  if (new Set(state.map(({ name }) => name)).size !== state.length) bad("two state entries have one name");
  let bytes = 0;
  for (const entry of state) {
    const { name, role, shape, dtype } = entry;
    if (!/^[a-z][a-z0-9_]{0,63}$/.test(name)) bad(`state entry ${name} must be named in a-z, 0-9 and _`);
    if (!ROLES.includes(role)) bad(`${name}.role is ${role}; allowed: ${ROLES.join(", ")}`);
    checkTensor(spec, name, entry, role !== "cache");
    if (role === "text" && (shape.length !== 4 || shape[2] !== "T")) bad(`${name} is text and must have the shape [B,G,T,Dh]`);
    if (role === "cache") {
      const bound = ["P", "T", "C"].every((letter) => letter in dims);
      if (shape.at(-2) !== "C" || !bound) bad(`${name} is a cache and must have the shape […,C,Dh]`);
      if (dims.C !== dims.P + dims.T) bad(`dims.C is ${dims.C}, which is not P + T`);
    }
    bytes += sizesOf(dims, shape).reduce((a, b) => a * b, 1) * DTYPES[dtype];
  }
  if (bytes > MAX_STATE_BYTES) throw new EdgecapError("bundle.oversized", `a state of ${bytes} bytes is too large.`);
}

function checkTensor(spec, name, { dtype, shape }, batchFirst) {
  if (!Object.hasOwn(DTYPES, dtype)) bad(`${name} is ${dtype}; allowed: ${Object.keys(DTYPES).join(", ")}`);
  if (batchFirst && shape[0] !== "B") bad(`${name} must have the batch B first`);
  if (shape.filter((side) => side === "B").length !== 1) bad(`${name} must have the batch B once`);
  for (const side of shape) {
    if (side !== "B" && !(typeof side === "string" ? side in spec.dims : side >= 1)) {
      bad(`${name} has the size ${side}, which dims does not bind`);
    }
  }
}

/** Refuses functions whose inputs or outputs differ from the contract. */
function checkContract(spec) {
  const [encode, decode, text] = ["encode", "decode", "encode_text"].map((name) => functionNamed(spec, name));
  const encoded = spec.state.filter(({ role }) => role !== "text").map(({ name }) => name);
  const crop = functionNamed(spec, "encode_crop");
  if (crop) checkCrops(crop, encode, encoded);
  if (!takes(encode, crop ? ["features", "grid"] : ["image"]) || !gives(encode, encoded, "image_embedding")) {
    bad("encode must map its image to every entry but those of text, and nothing else");
  }
  if (decode) checkDecode(spec, decode);
  else if (spec.state.length || !("image_embedding" in encode.outputs)) {
    bad("a model without decode keeps no state and must give an image embedding");
  }
  if (text && !(takes(text, ["tokens", "length"]) && gives(text, ["text_embedding"]))) {
    bad("encode_text must map tokens and length to text_embedding");
  }
  const others = { decode_attention: checkByHead, extend: checkExtend, decode_stateful: checkStateful };
  for (const [name, check] of Object.entries(others)) {
    const made = functionNamed(spec, name);
    if (made && !decode) bad(`${name} needs decode`);
    if (made) check(spec, made, decode);
  }
}

/** An image in crops: encode_crop makes features of each, and encode takes those of all. */
function checkCrops(crop, encode, encoded) {
  const is = (tensor, dtype, shape) =>
    tensor !== undefined && tensor.dtype === dtype && JSON.stringify(tensor.shape) === JSON.stringify(shape);
  if (!takes(crop, ["image"]) || !gives(crop, ["features"])
    || !is(crop.inputs.image, "uint8", ["B", "h", "w", 3]) || !is(crop.outputs.features, "float32", ["B", "F", "D"])) {
    bad("encode_crop must map image [B,h,w,3] to features [B,F,D]");
  }
  const { features, grid } = encode.inputs;
  if (!is(features, "float32", ["B", "n", "F", "D"]) || !is(grid, "int32", ["B", 2]) || !encoded.includes("image_length")) {
    bad("encode must map features [B,n,F,D] and grid [B,2] to image_length too");
  }
}

const takes = ({ inputs }, names) => sameNames(Object.keys(inputs), names);
const gives = ({ outputs }, names, optional) => sameNames(Object.keys(outputs).filter((name) => name !== optional), names);

function checkDecode(spec, decode) {
  const changing = spec.state.filter(({ role }) => role !== "image").map(newName);
  if (!takes(decode, ["token", "position", ...spec.state.map(({ name }) => name)])) {
    bad("decode must take token, position and every state entry");
  }
  if (!gives(decode, ["logits", ...changing], "attention")) {
    bad("decode must give logits and new_<entry> for entries that change");
  }
  if ((spec.attention === null) === "attention" in decode.outputs) {
    bad("attention must be given by decode where its grid is, and only there");
  }
}

function checkByHead(spec, byHead, decode) {
  if (spec.attention === null) bad("decode_attention needs the grid of attention");
  const told = ({ dtype, shape }) => `${dtype} ${shape}`;
  const alike = takes(byHead, Object.keys(decode.inputs)) && gives(byHead, Object.keys(decode.outputs));
  if (!alike || Object.entries(byHead.inputs).some(([name, tensor]) => told(tensor) !== told(decode.inputs[name]))) {
    bad("decode_attention must have the inputs and outputs of decode");
  }
}

function checkExtend(spec, extend) {
  const changing = spec.state.filter(hasRows);
  if (spec.state.some(({ role }) => role === "rolling")) bad("extend needs a state without rolling entries");
  if (!takes(extend, ["tokens", "position", ...spec.state.map(({ name }) => name)])) {
    bad("extend must take tokens, position and every state entry");
  }
  if (!gives(extend, ["logits", ...changing.map(newName)])) {
    bad("extend must give logits and new_<entry> for entries that change");
  }
  const { shape } = extend.inputs.tokens;
  const rows = (entry) => [...entry.shape.slice(0, -2), shape[1], entry.shape.at(-1)];
  const fits = changing.every((entry) => String(extend.outputs[newName(entry)].shape) === String(rows(entry)));
  if (shape.length !== 2 || typeof shape[1] !== "number" || !fits) {
    bad("extend must take tokens [B,n], n a number, and give n rows of an entry");
  }
}

function checkStateful(spec, stateful, decode) {
  if (!spec.state.length || spec.state.some(({ role }) => role !== "cache")) {
    bad("decode_stateful needs a state of cache entries");
  }
  if (!takes(stateful, ["token", "position", ...spec.state.map(imageName)])) {
    bad("decode_stateful must take token, position and <entry>_image of every entry");
  }
  const updates = spec.state.map(newName);
  if (!gives(stateful, Object.keys(decode.outputs).filter((name) => !updates.includes(name)))) {
    bad("decode_stateful must give what decode does, without the new rows");
  }
}
