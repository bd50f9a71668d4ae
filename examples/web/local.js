/** Answers messages with a Captioner: the same code on the page and in the Worker. */
import { Captioner, litertEngine, onnxEngine } from "./edgecap/index.js";

/** A function that takes messages { id, kind, … }; answers go to `send`. */
export function local(send) {
  let captioner = null;
  const aborts = new Map();

  async function engine({ format }, base) {
    if (format === "tflite") {
      return litertEngine(await import("./vendor/litert/index.js"), `${base}vendor/litert/wasm/`);
    }
    const ort = await import("./vendor/ort/ort.wasm.min.mjs");
    ort.env.wasm.wasmPaths = `${base}vendor/ort/`;
    return onnxEngine(ort);
  }

  const kinds = {
    async load({ id, entry, base }) {
      const onProgress = (event) => event.status === "progress" && send({ id, event });
      captioner = await Captioner.fromPretrained(`${base}models/${entry.name}`, {
        engine: await engine(entry, base), onProgress, minConfidence: entry.minConfidence,
      });
      const { languages, prompts, manifest, engine: name } = captioner;
      return { languages: [...languages], prompts: [...prompts], engine: name, searches: manifest.texts !== null };
    },
    async caption({ id, blob, options }) {
      const abort = new AbortController();
      aborts.set(id, abort);
      const onToken = async ({ text, regions }) => {
        send({ id, event: { text, regions } });
        await pause(); // lets an abort in, and the page paint
      };
      try {
        // One beam, so that words can be shown as they come.
        const { placement, ...told } = await captioner.caption(blob, { ...options, beams: 1, onToken, signal: abort.signal });
        return { ...told, placement: { ...placement } };
      } finally {
        aborts.delete(id);
      }
    },
    embedImage: async ({ blob }) => (await captioner.embedImages(blob))[0],
    embedText: async ({ text }) => (await captioner.embedTexts(text))[0],
    dispose: async () => captioner?.dispose(),
  };

  return async (message) => {
    if (message.kind === "abort") {
      aborts.get(message.id)?.abort();
      return;
    }
    try {
      send({ id: message.id, value: await kinds[message.kind](message) });
    } catch (error) {
      send({ id: message.id, error: { code: error.code, message: error.message } });
    }
  };
}

/** A turn of the event loop; setTimeout waits 4 ms, and a caption has a hundred. */
function pause() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
