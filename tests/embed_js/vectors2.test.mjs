/** The conformance vectors of schema 2, replayed on the package's own files. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 } from "../../edgecap/embed/js/src/crc32.js";
import { generate } from "../../edgecap/embed/js/src/decode.js";
import { processed } from "../../edgecap/embed/js/src/image_processing.js";
import { applyRules } from "../../edgecap/embed/js/src/logits.js";
import { Placement } from "../../edgecap/embed/js/src/placement.js";
import { readRegions } from "../../edgecap/embed/js/src/regions.js";
import { Rules } from "../../edgecap/embed/js/src/rules.js";
import { GENERATION, IMAGE } from "../../edgecap/embed/js/src/schema2.js";
import { sampler, sampling } from "../../edgecap/embed/js/src/sampling.js";
import { TextCodec } from "../../edgecap/embed/js/src/text_codec.js";
import { bytes, noise, vectors } from "./vectors.mjs";

const utf8 = (text) => new TextEncoder().encode(text);
const near = (got, expected, most, what) =>
  assert.ok(Math.abs(got - expected) <= most, `${what}: ${got}, not ${expected}`);

/** The code that `work` is refused with, or null. */
function codeOf(work) {
  try {
    work();
    return null;
  } catch (error) {
    assert.ok(error.code, String(error.stack));
    return error.code;
  }
}

test("images: every fit and filter, to the bit", () => {
  const all = bytes("image_specs.bin");
  for (const one of vectors("image_specs").cases) {
    const { width, height, channels, seed } = one;
    const image = { data: noise(width, height, channels, seed), width, height, channels };
    const { crops, grid, placement: p } = processed(image, IMAGE(one.spec, "image"));
    const pixels = Uint8Array.from(crops.flatMap((crop) => [...crop]));
    assert.deepEqual([...grid, crops.length], one.grid);
    assert.equal(crc32(pixels), one.crc32, JSON.stringify(one));
    if (one.at !== undefined) assert.deepEqual([...pixels], [...all.subarray(one.at, one.at + pixels.length)]);
    assert.deepEqual([p.left, p.top, p.scaledWidth, p.scaledHeight], one.placement, JSON.stringify(one));
  }
});

test("codecs: ids to text, piece by piece", () => {
  const { codecs, refusals } = vectors("codecs");
  for (const { file, texts } of codecs) {
    const codec = TextCodec.fromBytes(utf8(file));
    for (const { clean, ids, pieces } of texts) {
      const stream = codec.stream(clean);
      assert.deepEqual([...ids.map((id) => stream.push(id)), stream.finish()], pieces, file.slice(0, 60));
      assert.equal(codec.decode(ids, clean), pieces.join(""));
    }
  }
  for (const { file, code } of refusals) assert.equal(codeOf(() => TextCodec.fromBytes(utf8(file))), code, file.slice(0, 90));
});

test("rules on scores", () => {
  const { scale, cases } = vectors("logits_rules");
  for (const { spec, generated, scores, ruled } of cases) {
    const made = applyRules(GENERATION(spec, "prompt"), Float32Array.from(scores, (s) => s / scale), generated);
    const expected = ruled.map((value) => (value === null ? -Infinity : Math.fround(value)));
    assert.deepEqual([...made], expected, JSON.stringify(spec));
  }
});

/** A state whose logits hang on the sum of what it was fed. */
class Table {
  constructor(told, sum = 0) {
    Object.assign(this, { told, sum });
  }

  async feed(token) {
    this.sum += token;
    const row = this.told.table[this.sum % this.told.rows];
    const logits = Float32Array.from(row, (value) => value / this.told.scale);
    return { logits, attention: Float32Array.of(this.sum) };
  }

  fork() {
    return new Table(this.told, this.sum);
  }
}

test("greedy decoding, beam search and sampling", async () => {
  const told = vectors("beams");
  for (const { spec, sampling: how, tokens, complete, scores, score, code } of told.cases) {
    const drawn = how && sampler(sampling({ ...how, topK: how.top_k, topP: how.top_p }));
    const search = generate(new Table(told), new Rules(GENERATION(spec, "prompt")), drawn ?? undefined);
    if (code) {
      await assert.rejects(search, { code });
      continue;
    }
    const made = await search;
    const what = JSON.stringify(spec);
    assert.deepEqual(made.tokens, tokens, what);
    assert.equal(made.complete, complete, what);
    made.scores.forEach((one, i) => near(one, scores[i], 2e-5, what));
    near(made.score, score, 2e-5, what);
    const fed = tokens.map((_, i) => [...spec.begin, ...tokens.slice(0, i)].reduce((a, b) => a + b));
    assert.deepEqual(made.chosen.map(({ attention: [sum] }) => sum), fed, what); // of the step that chose each token
  }
});

test("regions: every codec", () => {
  const { file, cases } = vectors("regions2");
  const codec = TextCodec.fromBytes(utf8(file));
  for (const one of cases) {
    const spec = { bin_px: 0, ...one.spec };
    const placement = new Placement(...one.placement);
    const { text, regions, malformed } = readRegions(one.ids, codec, spec, one.size, placement, one.scores);
    assert.equal(text, one.text);
    assert.equal(malformed, one.malformed);
    const spans = regions.map(({ start, end }) => [start, end].map((place) => utf8(text.slice(0, place)).length));
    assert.deepEqual(spans, one.spans);
    regions.forEach(({ boxes, scores }, i) => {
      assert.equal(boxes.length, one.boxes[i].length);
      boxes.flat().forEach((value, j) => near(value, one.boxes[i].flat()[j], 1e-9, text));
      scores.forEach((value, j) => near(value, one.box_scores[i][j], 1e-9, text));
    });
  }
});
