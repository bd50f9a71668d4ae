/**
 * node rounding.mjs MODULES URL SIGNATURE OUT: runs model.tflite of a built page on pixels.bin, uint8
 * [1,224,224,3], in LiteRT.js and Chromium, and writes the outputs, 32-bit floats, to OUT/<name>.bin.
 */
import { createRequire } from "node:module";
import { existsSync, writeFileSync } from "node:fs";

const [modules, url, signature, out] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)("playwright-core");
const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
try {
  const page = await browser.newPage();
  await page.exposeFunction("keep", (name, text) => writeFileSync(`${out}/${name}.bin`, Buffer.from(text, "base64")));
  await page.goto(url);
  await page.waitForFunction(() => document.body.dataset.captioned !== undefined, null, { timeout: 120_000 });
  await page.evaluate(async (name) => {
    const litert = await import("./vendor/litert/index.js"); // started by the page
    const bytes = async (file) => new Uint8Array(await (await fetch(file)).arrayBuffer());
    const model = await litert.loadAndCompile(await bytes("model.tflite"), { accelerator: "wasm" });
    const image = new litert.Tensor(await bytes("pixels.bin"), [1, 224, 224, 3]);
    const outputs = await model.signatures[name].run({ image });
    for (const [key, tensor] of Object.entries(outputs)) {
      const { buffer, byteOffset, byteLength } = tensor.toTypedArray();
      const url = await new Promise((resolve) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result);
        reader.readAsDataURL(new Blob([new Uint8Array(buffer, byteOffset, byteLength)]));
      });
      await window.keep(key, url.slice(url.indexOf(",") + 1));
    }
  }, signature);
} finally {
  await browser.close();
}
