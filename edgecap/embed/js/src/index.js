/** edgecap in JavaScript: captions, boxes and search on a device, from the same bundles as Python. */
export { Captioner } from "./captioner.js";
export { EdgecapError } from "./errors.js";
export { litertEngine } from "./engines/litert.js";
export { onnxEngine } from "./engines/onnx.js";
