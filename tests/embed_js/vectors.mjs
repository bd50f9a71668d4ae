/** The conformance vectors, and images by their seeds (conformance/README.md). */
import { readFileSync } from "node:fs";

const folder = new URL("../../conformance/vectors/", import.meta.url);

export const bytes = (name) => new Uint8Array(readFileSync(new URL(name, folder)));

export const vectors = (topic) => JSON.parse(readFileSync(new URL(`${topic}.json`, folder), "utf8"));

/** uint8 [h,w,channels] of a seed. */
export function noise(width, height, channels, seed) {
  let x = seed >>> 0;
  return Uint8Array.from({ length: width * height * channels }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x >>> 24;
  });
}
