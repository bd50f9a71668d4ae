/**
 * node project.mjs MODULES DIRECTORY IMAGE WIDTH SHOT: serves a web project, captions an image in
 * headless Chromium as a person would, WIDTH px wide, and prints what the page said as JSON. SHOT: a
 * PNG of the page in the end.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, directory, image, width, shot] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)("playwright-core");
const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);

const server = spawn("node", [`${directory}/serve.mjs`, "0"]);
const address = await new Promise((resolve) => server.stdout.once("data", (data) => resolve(String(data).trim())));
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
const seen = { errors: [] };
try {
  const page = await browser.newPage({ viewport: { width: Number(width), height: 800 } });
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && seen.errors.push(message.text()));
  await page.goto(address);
  await page.locator("#file:enabled").waitFor({ timeout: 120_000 });
  await page.setInputFiles("#file", image);
  await page.waitForFunction(() => document.getElementById("file").value === "" && !document.getElementById("file").disabled, null, { timeout: 120_000 });
  seen.caption = await page.locator("#caption").textContent();
  seen.sure = await page.locator("#sure").textContent();
  seen.busy = await page.locator("[aria-busy]").count();
  seen.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  await page.screenshot({ path: shot });
  seen.isolated = await page.evaluate(() => crossOriginIsolated);
  const outside = await fetch(new URL("..%2f..%2fetc/passwd", address));
  seen.outside = outside.status;
} finally {
  await browser.close();
  server.kill();
}
console.log(JSON.stringify(seen));
