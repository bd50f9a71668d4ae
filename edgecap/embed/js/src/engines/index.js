/**
 * Engines behind one small interface. A tensor is { type, data: typed array, dims }.
 *
 * An engine: { name, formats, open(bundle, { device, threads }) -> session }
 * A session: { run(function, inputs) -> outputs, by the names of the manifest's interface, dispose() }
 */
import { EdgecapError, pick } from "../errors.js";
import { litertEngine } from "./litert.js";
import { onnxEngine } from "./onnx.js";

const BY_FORMAT = { onnx: "onnxruntime", tflite: "litert" };

/**
 * An engine from what the caller named or handed in: "onnxruntime", "litert", a module
 * (onnxruntime-web, -node or -react-native; @litertjs/core), or an engine of one's own.
 */
export async function engineFor(engine, format) {
  let made = engine;
  if (engine === null) {
    if (!Object.hasOwn(BY_FORMAT, format)) {
      throw new EdgecapError("bundle.format", `a bundle in ${format} does not run here; onnx and tflite do.`);
    }
    made = BY_FORMAT[format];
  }
  if (typeof made === "string") {
    pick("engine", made, Object.values(BY_FORMAT));
    made = made === "litert" ? litertEngine(await imported("@litertjs/core")) : onnxEngine(await onnxruntime());
  } else if (made?.InferenceSession) made = onnxEngine(made);
  else if (made?.loadAndCompile) made = litertEngine(made);
  if (typeof made?.open !== "function" || !Array.isArray(made.formats)) {
    throw new EdgecapError("engine.unknown", "engine is neither a name, nor a module of onnxruntime or LiteRT.js, nor an engine.");
  }
  if (!made.formats.includes(format)) {
    throw new EdgecapError("engine.format", `${made.name} reads ${made.formats.join(", ")}; the bundle is in ${format}.`);
  }
  return made;
}

async function onnxruntime() {
  const isNode = typeof process !== "undefined" && Boolean(process.versions?.node);
  if (!isNode) return imported("onnxruntime-web");
  process.env.ORT_DISABLE_TELEMETRY ??= "1"; // from 1.29 on it reports its use, unless this is set before
  return imported("onnxruntime-node").catch(() => imported("onnxruntime-web"));
}

/** Not a literal import: bundlers would demand every engine. With a bundler, hand the module in. */
async function imported(name) {
  try {
    const module = await import(/* @vite-ignore */ /* webpackIgnore: true */ name);
    return module.InferenceSession || module.loadAndCompile ? module : module.default;
  } catch (error) {
    throw new EdgecapError(
      "package.missing",
      `${name} cannot be imported: ${error.message.split("\n")[0]}.`,
      `npm install ${name}, name it in an import map, or hand the module in as engine.`,
    );
  }
}

/** One call after the other: an engine's session is not made for two at a time. */
export function serially(session) {
  let tail = Promise.resolve();
  const queued = (work) => {
    const done = tail.then(work);
    tail = done.catch(() => {});
    return done;
  };
  return {
    run: (name, inputs) => queued(() => session.run(name, inputs)),
    dispose: () => queued(() => session.dispose()),
  };
}
