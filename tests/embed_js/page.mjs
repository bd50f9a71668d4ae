/**
 * node page.mjs MODULES URL WIDTH OUT: drives the page in headless Chromium as a person would and
 * prints what was seen as JSON; screenshots go to OUT.
 */
import { createRequire } from "node:module";
import { existsSync } from "node:fs";

const [modules, url, width, out] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)("playwright-core");
const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);

/** Texts below a contrast of 4.5 with what is behind them (WCAG 2.2, 1.4.3). */
function faint() {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = numbers(colour).map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return numbers(colour)[3] !== 0 || !element.parentElement ? colour : behind(element.parentElement);
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility({ visibilityProperty: true })) continue;
    const [a, b] = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(`${element.textContent.trim().slice(0, 20)}: ${ratio.toFixed(2)}`);
  }
  return found;
}

/** Controls and images that a screen reader has no name for. */
function unnamed() {
  return [...document.querySelectorAll("button, input, select, img, progress, section")]
    .filter((element) => element.checkVisibility())
    .filter((element) => {
      const name = element.getAttribute("aria-label") || element.alt || element.labels?.[0]?.textContent || element.textContent;
      const named = element.querySelector("img")?.alt;
      return !(name?.trim() || named);
    })
    .map((element) => element.outerHTML.slice(0, 80));
}

const seen = { errors: [], width: Number(width) };
const browser = await chromium.launch({
  executablePath,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});
const context = await browser.newContext({
  viewport: { width: Number(width), height: Number(width) < 600 ? 844 : 900 },
  hasTouch: Number(width) < 600,
  colorScheme: Number(width) < 600 ? "dark" : "light",
  locale: "en-GB",
});
const page = await context.newPage();
page.setDefaultTimeout(60_000);
page.on("pageerror", (error) => seen.errors.push(String(error)));
// LiteRT's own log goes to console.error.
const isLog = (text) => /^(INFO|WARNING):/.test(text);
page.on("console", (message) => message.type() === "error" && !isLog(message.text()) && seen.errors.push(`${message.text()} ${message.location().url}`));
const captioned = () => page.waitForFunction(() => document.body.dataset.captioned !== undefined && document.body.dataset.captioned + " ").then((h) => h.jsonValue()).then((text) => text.trim());
const forget = () => page.evaluate(() => { delete document.body.dataset.captioned; });
const shot = (name) => page.screenshot({ path: `${out}/${width}-${name}.png`, fullPage: true });

try {
  await page.goto(url);
  await page.evaluate(() => {
    window.shift = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
  });
  seen.caption = await captioned();
  seen.boxes = await page.locator(".box").count();
  seen.sure = await page.locator("#caption small").textContent();
  seen.isolated = await page.evaluate(() => crossOriginIsolated);
  await shot("caption");

  // By keyboard alone: the first word's map.
  const word = page.locator("#caption button").first();
  seen.words = await page.locator("#caption button").count();
  if (seen.words) {
    await word.focus();
    seen.heat = await page.locator("#heat.shown").count();
    await page.waitForTimeout(200);
    await shot("word");
    await word.blur();
  }

  if (await page.locator("#language option").count() > 1) {
    await forget();
    await page.locator("#language").selectOption("de");
    seen.german = await captioned();
    seen.lang = await page.locator("#caption").getAttribute("lang");
  }

  // An image of the person's own, through the file input, and one that is none.
  const png = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(300, 120);
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, 300, 120);
    context.fillStyle = "#c00";
    context.beginPath();
    context.arc(80, 60, 40, 0, 7);
    context.fill();
    const bytes = new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer());
    return [...bytes];
  });
  await forget();
  await page.locator("#file").setInputFiles({ name: "mine.png", mimeType: "image/png", buffer: Buffer.from(png) });
  seen.mine = await captioned();
  seen.alt = await page.locator("#image").getAttribute("alt");
  await shot("mine");
  await page.locator("#file").setInputFiles({ name: "bad.png", mimeType: "image/png", buffer: Buffer.from("no image") });
  await page.waitForFunction(() => document.querySelector("#status.error"));
  seen.refusal = await page.locator("#status").textContent();

  if (await page.locator(".search").isVisible()) {
    await page.locator("#query").fill("a red circle");
    await page.locator("#query").press("Enter");
    seen.found = await page.waitForFunction(() => document.body.dataset.searched).then((h) => h.jsonValue());
    await shot("search");
  }

  // The other model is not sure of anything; then back, for what follows.
  if (await page.locator("#model option").count() > 1) {
    await forget();
    await page.locator("#model").selectOption({ index: 1 });
    await captioned();
    seen.declined = {
      caption: await page.locator("#caption").evaluate((element) => element.firstChild.textContent),
      confidence: await page.locator("#caption small").textContent(),
      boxes: await page.locator(".box").count(),
      words: await page.locator("#caption button").count(),
    };
    await shot("declined");
    seen.contrast = await page.evaluate(faint);
    await forget();
    await page.locator("#model").selectOption({ index: 0 });
    await captioned();
  }

  seen.contrast = [...(seen.contrast ?? []), ...(await page.evaluate(faint))];
  seen.unnamed = await page.evaluate(unnamed);
  seen.shift = await page.evaluate(() => window.shift);
  seen.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

  // Offline: the service worker and the bundle's cache give everything.
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.waitForFunction(async () => (await caches.keys()).some((name) => name.startsWith("edgecap-page-")));
  await context.setOffline(true);
  await page.reload();
  seen.offline = await captioned();
} catch (error) {
  seen.failure = String(error);
  seen.status = await page.locator("#status").textContent().catch(() => null);
  await shot("failure").catch(() => {});
}
await browser.close();
process.stdout.write(JSON.stringify(seen));
