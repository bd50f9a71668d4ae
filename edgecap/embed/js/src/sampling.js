/**
 * Drawing the next token at random, the same on every machine (SPEC.md, Choosing).
 * SplitMix64 from seed * 2^32 + index of the image. Letter: V vocabulary.
 */
import { EdgecapError } from "./errors.js";

const MASK = (1n << 64n) - 1n;

/** Checked settings; defaults draw from the whole distribution. */
export function sampling({ temperature = 1, topK = null, topP = null, seed = 0, index = 0 } = {}) {
  const check = (name, value, fits, allowed) => {
    if (!fits) throw new EdgecapError(`sampling.${name}`, `${name} must be ${allowed}, got ${value}.`);
  };
  check("temperature", temperature, temperature >= 0.01 && temperature <= 100, "in 0.01 … 100");
  check("top_k", topK, topK === null || (Number.isInteger(topK) && topK >= 1), "at least 1");
  check("top_p", topP, topP === null || (topP > 0 && topP <= 1), "above 0 and at most 1");
  check("seed", seed, Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32, "in 0 … 4294967295");
  check("index", index, Number.isInteger(index) && index >= 0 && index < 2 ** 32, "in 0 … 4294967295");
  return { temperature, topK, topP, seed, index };
}

/** What is drawn from, float64 [V], for scores [V] of which some may be -Infinity. */
export function probabilities(scores, { temperature, topK, topP }) {
  const scaled = Float64Array.from(scores, (score) => score / temperature);
  const highest = scaled.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = scaled.map((score) => Math.exp(score - highest));
  // A typed array's sort is stable: of equals, the lower id first.
  let order = Int32Array.from(scaled.keys()).sort((a, b) => scaled[b] - scaled[a] || a - b);
  if (topK !== null) order = order.subarray(0, topK);
  if (topP !== null) {
    const total = order.reduce((sum, i) => sum + weights[i], 0);
    let sum = 0;
    let kept = 0;
    while (kept < order.length && sum / total < topP) sum += weights[order[kept++]];
    order = order.subarray(0, Math.max(kept, 1));
  }
  const chances = new Float64Array(scaled.length);
  for (const i of order) chances[i] = weights[i];
  const total = chances.reduce((sum, value) => sum + value, 0);
  return chances.map((value) => value / total);
}

/** The token at which the running sum of float64 [V] exceeds u, 0 <= u < 1. */
export function draw(chances, u) {
  let sum = 0;
  let last = 0;
  for (let i = 0; i < chances.length; i += 1) {
    if (chances[i] === 0) continue;
    sum += chances[i];
    last = i;
    if (sum > u) return i;
  }
  return last; // the sum may end a rounding below 1
}

/** Number `count` of the stream that begins at `start` (BigInt): 0 <= u < 1, a multiple of 2^-53. */
export function uniform(start, count) {
  let z = (start + BigInt(count + 1) * 0x9e3779b97f4a7c15n) & MASK;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return Number((z ^ (z >> 31n)) >> 11n) / 2 ** 53;
}

/** A choose(scores, count) for one image. */
export function sampler(settings) {
  const start = (BigInt(settings.seed) << 32n) + BigInt(settings.index);
  return (scores, count) => draw(probabilities(scores, settings), uniform(start, count));
}
