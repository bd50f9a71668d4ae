/** TFLite bundles through LiteRT.js (@litertjs/core), in browsers. */
import { EdgecapError, pick } from "../errors.js";

let runtime = null; // LiteRT.js keeps one of its own for the page

/**
 * @param litert the module @litertjs/core
 * @param {string} wasmPath where the package's wasm folder is served
 */
export function litertEngine(litert, wasmPath = "/node_modules/@litertjs/core/wasm/") {
  return {
    name: "litert",
    formats: ["tflite"],
    open: async (bundle, { device = "auto", threads = null } = {}) => {
      pick("device", device, ["auto", "cpu", "wasm", "webgpu"]);
      const accelerator = device === "webgpu" ? "webgpu" : "wasm";
      const isolated = globalThis.crossOriginIsolated === true; // without it there is no SharedArrayBuffer
      // WebGPU dies without jspi ("Asyncify is not defined"), and threads do not go with it.
      const options = accelerator === "webgpu" ? { jspi: true } : { threads: isolated && threads !== 1 };
      runtime ??= litert.loadLiteRt(wasmPath, options);
      try {
        await runtime;
      } catch (error) {
        runtime = null;
        throw new EdgecapError("package.missing", `LiteRT.js does not start from ${wasmPath}: ${firstLine(error)}.`);
      }
      return LitertSession.open(litert, bundle, accelerator, threads);
    },
  };
}

class LitertSession {
  static async open(litert, bundle, accelerator, threads) {
    const session = new LitertSession();
    session.litert = litert;
    session.functions = bundle.manifest.functions;
    session.models = new Map();
    const options = { accelerator, ...(threads === null ? {} : { cpuOptions: { numThreads: threads } }) };
    for (const { file } of Object.values(session.functions)) {
      if (session.models.has(file)) continue;
      try {
        session.models.set(file, await litert.loadAndCompile(bundle.read(file), options));
      } catch (error) {
        throw new EdgecapError("bundle.model", `LiteRT.js (${accelerator}) rejects ${file}: ${firstLine(error)}.`);
      }
    }
    return session;
  }

  async run(name, inputs) {
    const { file, entry, inputs: inputNames, outputs: outputNames } = this.functions[name];
    const feeds = {};
    for (const [key, { data, dims }] of Object.entries(inputs)) {
      feeds[inputNames[key]] = new this.litert.Tensor(data, dims);
    }
    let results = {};
    try {
      results = await this.models.get(file).signatures[entry].run(feeds);
      const outputs = {};
      for (const [key, target] of Object.entries(outputNames)) {
        const onCpu = await cpu(results[target]);
        // Copied: the array may lie in wasm memory, which delete() gives back.
        const data = onCpu.toTypedArray().slice();
        outputs[key] = { type: typeOf(data), data, dims: [...onCpu.type.layout.dimensions] };
        if (onCpu !== results[target]) onCpu.delete();
      }
      return outputs;
    } catch (error) {
      throw new EdgecapError("bundle.model", `${name} fails in LiteRT.js: ${firstLine(error)}.`);
    } finally {
      for (const tensor of [...Object.values(feeds), ...Object.values(results)]) tensor.delete();
    }
  }

  async dispose() {
    for (const model of this.models.values()) model.delete();
    this.models.clear();
  }
}

const cpu = async (tensor) => (tensor.accelerator === "webgpu" ? tensor.copyTo("wasm") : tensor);
const TYPES = { Float32Array: "float32", Int32Array: "int32", Uint8Array: "uint8" };
const typeOf = (data) => TYPES[data.constructor.name];
const firstLine = (error) => String(error?.message ?? error).split("\n")[0].slice(0, 200);
