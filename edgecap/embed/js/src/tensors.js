/** Small helpers over { type, data, dims }. */
import { EdgecapError } from "./errors.js";

export const int32 = (values, dims) => ({ type: "int32", data: Int32Array.from(values), dims });

export const uint8 = (data, dims) => ({ type: "uint8", data, dims });

/** Zeros of a type, as engines take them. */
export function zeros(type, dims) {
  const Kind = {
    float32: Float32Array, int32: Int32Array, uint8: Uint8Array, float16: globalThis.Float16Array ?? Uint16Array,
  }[type];
  return { type, data: new Kind(dims.reduce((a, b) => a * b, 1)), dims };
}

/** f32 values of a float tensor, its own copy. */
export function floats({ type, data }) {
  if (type === "float16" && data instanceof Uint16Array) return Float32Array.from(data, half);
  return new Float32Array(data);
}

/** An IEEE half from its 16 bits. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The tensor, where its shape is what the contract says; else bundle.model. */
export function shaped(tensor, dims, name) {
  if (tensor.dims.length !== dims.length || dims.some((side, i) => side !== tensor.dims[i])) {
    throw new EdgecapError("bundle.model", `the model gives ${name} [${tensor.dims}], not [${dims}].`);
  }
  return tensor;
}

/** An embedding f32 [E]; bundle.not_finite where the model's numbers are none. */
export function embedding(tensor) {
  const vector = floats(tensor);
  if (!vector.every(Number.isFinite)) {
    throw new EdgecapError("bundle.not_finite", "the model's vectors hold NaN or infinity.");
  }
  return vector;
}
