/**
 * A captioner that keeps the page responsive: onnxruntime in a Worker, LiteRT.js on the page itself
 * (its loader needs a document).
 */
import { local } from "./local.js";

export class Model {
  static async load(entry, onProgress) {
    const model = new Model();
    model.calls = new Map();
    model.last = 0;
    if (entry.format === "tflite") {
      const own = local((message) => model.#answer(message));
      model.post = own;
    } else {
      model.worker = new Worker("worker.js", { type: "module" });
      model.worker.addEventListener("message", ({ data }) => model.#answer(data));
      model.worker.addEventListener("error", (event) => model.#fail(new Error(event.message ?? "the worker stopped")));
      model.post = (message) => model.worker.postMessage(message);
    }
    const base = new URL(".", document.baseURI).href;
    Object.assign(model, await model.#call("load", { entry, base }, onProgress));
    return model;
  }

  caption(blob, options, onToken) {
    return this.#call("caption", { blob, options }, onToken);
  }

  embedImage(blob) {
    return this.#call("embedImage", { blob });
  }

  embedText(text) {
    return this.#call("embedText", { text });
  }

  async dispose() {
    await this.#call("dispose", {}).catch(() => {});
    this.worker?.terminate();
  }

  #call(kind, content, onEvent = null) {
    const id = (this.last += 1);
    return new Promise((resolve, reject) => {
      this.calls.set(id, { resolve, reject, onEvent });
      this.post({ id, kind, ...content });
    });
  }

  #answer({ id, event, value, error }) {
    const call = this.calls.get(id);
    if (!call) return;
    if (event) {
      // An event that nobody wants any more ends its call.
      if (call.onEvent?.(event) === false) this.post({ id, kind: "abort" });
      return;
    }
    this.calls.delete(id);
    if (error) call.reject(Object.assign(new Error(error.message), { code: error.code }));
    else call.resolve(value);
  }

  #fail(error) {
    for (const { reject } of this.calls.values()) reject(error);
    this.calls.clear();
  }
}
