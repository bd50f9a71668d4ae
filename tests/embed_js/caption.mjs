/**
 * node caption.mjs MODULES ENGINE BUNDLE REQUESTS: captions every request of a JSON file, whose
 * images are raw RGB, and prints what came as JSON. `load` there are options of fromPretrained.
 * Engines come from MODULES/node_modules.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Captioner } from "../../edgecap/embed/js/src/index.js";

const [modules, engine, bundle, requests] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const engines = {
  "onnxruntime-node": async () => require("onnxruntime-node"),
  "onnxruntime-web": () =>
    import(pathToFileURL(`${modules}/node_modules/onnxruntime-web/dist/ort.node.min.mjs`)),
};

const answers = [];
const { load, asked } = JSON.parse(readFileSync(requests, "utf8"));
try {
  const captioner = await Captioner.fromPretrained(bundle, { engine: await engines[engine](), threads: 1, ...load });
  for (const { file, width, height, options, texts } of asked) {
    const image = { data: new Uint8Array(readFileSync(file)), width, height, channels: 3 };
    const streamed = [];
    const onToken = options.beams > 1 ? undefined : ({ text }) => void streamed.push(text);
    const caption = await captioner.caption(image, { ...options, ...(onToken && { onToken }) });
    const words = caption.words.map(({ text, isBox, tokens, span, map }) => ({
      text, isBox, tokens, span, map: [...map.data],
    }));
    const vectors = texts ? [...(await captioner.embedImages(image)), ...(await captioner.embedTexts(texts))] : [];
    answers.push({ ...caption, words, streamed, vectors: vectors.map((vector) => [...vector]) });
  }
  await captioner.dispose();
  process.stdout.write(JSON.stringify({ answers }));
} catch (error) {
  if (!error.code) throw error;
  process.stdout.write(JSON.stringify({ answers, code: error.code, message: error.message }));
}
