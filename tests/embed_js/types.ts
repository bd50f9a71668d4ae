/** What index.d.ts promises, as an app would use it; the compiler checks it. */
import { Captioner, EdgecapError, onnxEngine, type Box, type Caption } from "../../edgecap/embed/js/index.js";

export async function use(file: Blob, ort: object): Promise<Box[]> {
  const captioner = await Captioner.fromPretrained("/models/s", {
    engine: onnxEngine(ort), dtype: "w8a8", onProgress: (event) => void event.status, minConfidence: "auto",
  });
  const told: Caption = await captioner.caption(file, { lang: "en", onToken: ({ text }) => void text });
  const [vector]: Float32Array[] = await captioner.embedTexts("a dog");
  const sure: number = told.declined ? 0 : (told.confidence ?? 1);
  // @ts-expect-error: a limit is a number or "auto"
  await Captioner.fromPretrained("/models/s", { minConfidence: "high" });
  // @ts-expect-error: a length is a number
  await captioner.caption(file, { maxLength: "9" });
  // @ts-expect-error: captioners are made by fromPretrained
  new Captioner();
  await captioner.dispose();
  if (!vector) throw new EdgecapError("text.none", "no vector");
  return told.regions.flatMap((region) => region.boxes.filter((_, i) => (region.confidences[i] ?? sure) > 0.5));
}
