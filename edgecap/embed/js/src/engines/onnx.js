/** ONNX bundles through any onnxruntime: -node, -web (wasm, WebGPU), -react-native. */
import { EdgecapError, pick } from "../errors.js";

/** @param ort a module with onnxruntime-common's InferenceSession and Tensor */
export function onnxEngine(ort) {
  return {
    name: "onnxruntime",
    formats: ["onnx"],
    open: async (bundle, { device = "auto", threads = null } = {}) => {
      pick("device", device, ["auto", "cpu", "wasm", "webgpu"]);
      const isWeb = !ort.listSupportedBackends && !/node/.test(ort.env?.versions?.node ?? "");
      const web = isWeb || !ort.listSupportedBackends?.().some(({ name }) => name === "cpu");
      const provider = device === "auto" ? (web ? "wasm" : "cpu") : device;
      if (ort.env?.wasm && threads !== null) ort.env.wasm.numThreads = threads;
      else if (ort.env?.wasm && globalThis.crossOriginIsolated === false) ort.env.wasm.numThreads = 1;
      const session = new OnnxSession(ort, bundle, provider, threads);
      await session.openAll();
      return session;
    },
  };
}

class OnnxSession {
  constructor(ort, bundle, provider, threads) {
    Object.assign(this, { ort, bundle, provider, threads });
    this.functions = bundle.manifest.functions;
    this.graphs = new Map();
  }

  /** What this package calls opens now, so that an error comes at the load. */
  async openAll() {
    for (const name of ["encode_crop", "encode", "decode", "encode_text"]) {
      if (name in this.functions) this.graphs.set(name, await this.#open(this.functions[name].file));
    }
  }

  async #open(file) {
    const folder = file.includes("/") ? file.slice(0, file.lastIndexOf("/") + 1) : "";
    const externalData = this.bundle.weights
      .filter((name) => name.startsWith(folder))
      .map((name) => ({ path: name.slice(folder.length), data: this.bundle.read(name) }));
    const options = { executionProviders: [this.provider], logSeverityLevel: 4 };
    if (externalData.length) options.externalData = externalData;
    if (this.threads !== null) Object.assign(options, { intraOpNumThreads: this.threads, interOpNumThreads: 1 });
    // As the Python runtime: without it x86 rounds differently.
    if (this.provider !== "webgpu") options.extra = { session: { x64quantprecision: "1" } };
    try {
      return await this.ort.InferenceSession.create(this.bundle.read(file), options);
    } catch (error) {
      throw new EdgecapError("bundle.model", `onnxruntime (${this.provider}) rejects ${file}: ${firstLine(error)}.`);
    }
  }

  async run(name, inputs) {
    const { inputs: inputNames, outputs: outputNames } = this.functions[name];
    const feeds = {};
    for (const [key, { type, data, dims }] of Object.entries(inputs)) {
      feeds[inputNames[key]] = new this.ort.Tensor(type, data, dims);
    }
    let results;
    try {
      results = await this.graphs.get(name).run(feeds, Object.values(outputNames));
    } catch (error) {
      throw new EdgecapError("bundle.model", `${name} fails in onnxruntime: ${firstLine(error)}.`);
    }
    const outputs = {};
    for (const [key, target] of Object.entries(outputNames)) {
      const { type, data, dims } = results[target];
      outputs[key] = { type, data, dims };
    }
    return outputs;
  }

  async dispose() {
    for (const graph of this.graphs.values()) await graph.release();
    this.graphs.clear();
  }
}

const firstLine = (error) => String(error?.message ?? error).split("\n")[0].slice(0, 200);
