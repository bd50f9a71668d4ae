/**
 * node browser.mjs MODULES URL FILES MODELS: opens images of a built page in headless Chromium, and
 * prints as JSON the CRC-32 of each one's pixels (RGBA) and what each model of the page says of it.
 * FILES and MODELS: names with commas between.
 */
import { createRequire } from "node:module";
import { existsSync } from "node:fs";

const [modules, url, files, models] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)("playwright-core");
const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
try {
  const page = await browser.newPage();
  await page.goto(url);
  await page.waitForFunction(() => document.body.dataset.captioned !== undefined, null, { timeout: 120_000 });
  const read = (file) => page.evaluate(async (name) => {
    const [{ readPixels }, { crc32 }] = await Promise.all([import("./edgecap/image.js"), import("./edgecap/crc32.js")]);
    const { data, width, height } = await readPixels(await (await fetch(name)).blob());
    return { crc32: crc32(data), width, height };
  }, file);
  const open = (name) => page.evaluate(async (wanted) => {
    const { local } = await import("./local.js");
    const { models } = await (await fetch("content.json")).json();
    const answers = new Map();
    const take = local(({ id, value, error }) => (value !== undefined || error) && answers.set(id, value ?? error));
    window.ask = async (message) => {
      answers.delete(0);
      await take({ id: 0, ...message });
      return answers.get(0);
    };
    return window.ask({ kind: "load", entry: models.find((entry) => entry.name === wanted), base: new URL(".", document.baseURI).href });
  }, name);
  const caption = (file) => page.evaluate(async (name) => {
    const blob = await (await fetch(name)).blob();
    const { text, tokens, confidence, declined, message } = await window.ask({ kind: "caption", blob, options: {} });
    return { text, tokens, confidence, declined, message };
  }, file);

  const seen = { pixels: {}, captions: {} };
  const listed = (names) => names.split(",").filter(Boolean);
  for (const file of listed(files)) seen.pixels[file] = await read(file);
  for (const model of listed(models)) {
    await open(model);
    seen.captions[model] = [];
    for (const file of listed(files)) seen.captions[model].push(await caption(file));
    await page.evaluate(() => window.ask({ kind: "dispose" }));
  }
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
