/** Every conformance vector, replayed on the package's own files. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readTokens } from "../../edgecap/embed/js/src/captions.js";
import { crc32 } from "../../edgecap/embed/js/src/crc32.js";
import { readContainer } from "../../edgecap/embed/js/src/container.js";
import { generate } from "../../edgecap/embed/js/src/decode.js";
import { TokenGrammar, checkGrammar } from "../../edgecap/embed/js/src/grammar.js";
import { processed } from "../../edgecap/embed/js/src/image_processing.js";
import { readManifest } from "../../edgecap/embed/js/src/manifest.js";
import { toRgb, upright } from "../../edgecap/embed/js/src/pixels.js";
import { Placement } from "../../edgecap/embed/js/src/placement.js";
import { resize } from "../../edgecap/embed/js/src/resize.js";
import { Rules } from "../../edgecap/embed/js/src/rules.js";
import { draw, probabilities, sampler, sampling, uniform } from "../../edgecap/embed/js/src/sampling.js";
import { Tokenizer } from "../../edgecap/embed/js/src/tokenizer.js";
import { GENERATION } from "../../edgecap/embed/js/src/schema2.js";
import { imageSpec } from "../../edgecap/embed/js/src/upgrade.js";
import { codecOf } from "../../edgecap/embed/js/src/vocabulary.js";
import { bytes, noise, vectors } from "./vectors.mjs";

const near = (got, expected, most, what) =>
  assert.ok(Math.abs(got - expected) <= most, `${what}: ${got}, not ${expected}`);

const refused = (code, work, what) =>
  assert.throws(work, (error) => error.code === code, `${what} is not refused as ${code}`);

/** An output is what is kept at `at`, or has the CRC-32. */
function same(topic, told, got, what) {
  assert.equal(crc32(got), told.crc32, what);
  if (told.at !== undefined) assert.deepEqual([...got], [...topic.subarray(told.at, told.at + got.length)], what);
}

test("resize: four filters, to the bit", () => {
  const { cases } = vectors("resize");
  assert.ok(cases.length > 60);
  for (const told of cases) {
    const [width, height] = told.from;
    const image = { data: noise(width, height, 3, told.seed), width, height };
    const out = resize(image, ...told.to, told.filter);
    same(bytes("resize.bin"), told, out.data, JSON.stringify(told));
  }
});

test("letterbox: an image on the input, and boxes back", () => {
  for (const told of vectors("letterbox").cases) {
    const [width, height] = told.from;
    const image = { data: noise(width, height, 3, told.seed), width, height, channels: 3 };
    const spec = imageSpec({ size: told.size, fit: "contain", resample: "bilinear", fill: told.fill, channels: "RGB" });
    const { crops: [pixels], placement } = processed(image, spec);
    same(bytes("letterbox.bin"), told, pixels, JSON.stringify(told.from));
    assert.deepEqual(
      [placement.left, placement.top, placement.scaledWidth, placement.scaledHeight],
      [told.left, told.top, ...told.scaled],
    );
    for (const [box, expected] of told.boxes) {
      placement.toImage(box).forEach((edge, i) => near(edge, expected[i], 1e-9, "edge"));
    }
  }
});

test("pixels: orientation and transparency", () => {
  const kept = bytes("pixels.bin");
  const { orientations, formats } = vectors("pixels");
  for (const told of orientations) {
    const [width, height] = told.from;
    const source = { data: noise(width, height, 3, told.seed), width, height, channels: 3 };
    const turned = upright(source, told.orientation);
    assert.deepEqual([turned.width, turned.height], told.to);
    same(kept, told, turned.data, `orientation ${told.orientation}`);
  }
  for (const told of formats) {
    const [width, height] = told.size;
    const data = kept.slice(told.source, told.source + width * height * told.channels);
    if (told.format.startsWith("bgr")) {
      for (let i = 0; i < data.length; i += told.channels) [data[i], data[i + 2]] = [data[i + 2], data[i]];
    }
    same(kept, told, toRgb({ data, width, height, channels: told.channels }, told.fill).data, told.format);
  }
});

test("NFC is Unicode's", () => {
  for (const [from, to] of vectors("nfc").cases) {
    const made = String.fromCodePoint(...from).normalize("NFC");
    assert.deepEqual([...made].map((c) => c.codePointAt(0)), to);
  }
});

test("words: encode and decode", () => {
  const tokenizer = new Tokenizer(bytes("tokenizer.json"));
  const { encode, encode_special: special, decode } = vectors("words");
  assert.ok(encode.length > 20 && decode.length > 20 && special.length > 0);
  for (const [text, ids] of encode) assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
  for (const [text, ids] of special) assert.deepEqual(tokenizer.encode(text, true), ids, JSON.stringify(text));
  const codec = codecOf(tokenizer);
  for (const [ids, skip, text] of decode) assert.equal(codec.decode(ids, skip), text, JSON.stringify(ids));
});

test("tokenizers that are refused", () => {
  const original = new TextDecoder().decode(bytes("tokenizer.json"));
  for (const { name, replace: [from, to], code } of vectors("tokenizer_refusals").cases) {
    assert.ok(original.includes(from), name);
    const changed = new TextEncoder().encode(original.replace(from, () => to));
    refused(code, () => new Tokenizer(changed), name);
  }
});

test("grammar: walks, refusals, a state that is stuck", () => {
  const { grammar, walks, refusals, stuck } = vectors("grammar");
  for (const { start, vocabulary, known, steps } of walks) {
    const rule = new TokenGrammar(grammar, start, vocabulary, known);
    const tokens = [];
    let state = rule.start;
    for (const step of steps) {
      assert.equal(state, step.state);
      const mask = new Uint8Array(vocabulary);
      for (const [from, to] of step.allowed) mask.fill(1, from, to);
      assert.deepEqual([...rule.allowed(state, tokens, step.left)], [...mask]);
      tokens.push(step.token);
      state = rule.after(state, step.token);
    }
  }
  for (const { name, grammar: bad, code } of refusals) refused(code, () => checkGrammar(bad, 40), name);
  for (const { grammar: dead, state, tokens, left, code } of stuck) {
    const rule = new TokenGrammar(dead, "boxes", 40, 40);
    refused(code, () => rule.allowed(state, tokens, left), "stuck");
  }
});

test("sampler: the stream, what is kept, what is drawn", () => {
  const { scale, uniform: streams, draws } = vectors("sampler");
  for (const [seed, index, count, u] of streams) {
    assert.equal(uniform((BigInt(seed) << 32n) + BigInt(index), count) * 2 ** 53, u);
  }
  for (const told of draws) {
    const scores = Float32Array.from(told.scores, (score) => (score === null ? -Infinity : score / scale));
    const how = sampling({ temperature: told.temperature, topK: told.top_k, topP: told.top_p });
    const chances = probabilities(scores, how);
    const kept = new Map(told.kept);
    chances.forEach((chance, token) => near(chance, kept.get(token) ?? 0, 1e-9, `chance of ${token}`));
    for (const [u, token] of told.taken) assert.equal(draw(chances, u), token);
  }
});

/** The scripted model of conformance/search.py as a state. */
class Scripted {
  constructor(table, rows, vocabulary, scale, h = 0) {
    Object.assign(this, { table, rows, vocabulary, scale, h });
  }

  async feed(token) {
    this.h = (this.h * 31 + token + 1) % this.rows;
    const row = this.table.subarray(this.h * this.vocabulary, (this.h + 1) * this.vocabulary);
    return { logits: Float32Array.from(row, (v) => v / this.scale), attention: Float32Array.of(this.h) };
  }

  fork() {
    return new Scripted(this.table, this.rows, this.vocabulary, this.scale, this.h);
  }
}

test("search: greedy, drawn, by beams", async () => {
  const { scale, vocabulary, rows, eos, grammar, cases } = vectors("search");
  const table = new Int16Array(bytes("search.bin").buffer);
  assert.ok(cases.length > 100);
  for (const told of cases) {
    const rule = told.rule && new TokenGrammar(grammar, told.rule, vocabulary, vocabulary);
    const limits = { begin: told.prompt, eos: [eos], max_new_tokens: told.length, beams: told.beams };
    const spec = GENERATION({ ...limits, early_stopping: "ended" }, "prompt");
    const state = new Scripted(table, rows, vocabulary, scale);
    let choose;
    if (told.sampling) {
      const { temperature, top_k: topK, top_p: topP, seed, index } = told.sampling;
      choose = sampler(sampling({ temperature, topK, topP, seed, index }));
    }
    const made = await generate(state, new Rules(spec, rule), choose);
    const what = JSON.stringify({ ...told, scores: null });
    assert.deepEqual(made.tokens, told.tokens, what);
    assert.equal(made.complete, told.complete, what);
    assert.deepEqual(made.chosen.map((c) => c.attention[0]), told.heads, what);
    made.chosen.forEach((c, i) => near(c.score, told.scores[i], 2e-5, what));
    near(made.score, told.score, 2e-5, what);
  }
});

test("regions: tokens to text, phrases and boxes", () => {
  const told = vectors("regions");
  const tokenizer = new Tokenizer(bytes(told.tokenizer));
  const regions = { codec: "edges4", first: tokenizer.idOf(told.first), count: told.bins, bin_px: told.bin_px, marks: {} };
  const size = [224, 224]; // of conformance/regions.py
  const model = { codec: codecOf(tokenizer), manifest: { regions, image: { size } } };
  for (const one of told.cases) {
    const placement = new Placement(...size, 0, 0, ...size);
    const { text, regions: groups, malformed } = readTokens(one.tokens, one.scores, model, placement, one.lang);
    assert.equal(text, one.text);
    assert.equal(malformed, one.malformed);
    assert.deepEqual(
      groups.map((g) => [g.phrase, g.span, g.boxes]),
      one.groups.map((g) => [g.phrase, g.span, g.boxes]),
    );
    groups.forEach((g, i) => g.scores.forEach((s, j) => near(s, one.groups[i].scores[j], 1e-8, one.text)));
  }
});

const MANIFESTS = { manifests: 1, manifests2: 2, manifests_cached: 2, manifests_crops: 2 };
for (const [topic, schema] of Object.entries(MANIFESTS)) {
  test(`${topic}: what is read and what is refused`, () => {
    const { base, cases } = vectors(topic);
    assert.ok(cases.length > 30);
    for (const { name, replace, code } of cases) {
      let changed = base;
      for (const [from, to] of replace) {
        assert.ok(changed.includes(from), `${name}: ${from}`);
        changed = changed.replace(from, () => to);
      }
      const read = () => readManifest(new TextEncoder().encode(changed));
      if (code === null) assert.equal(read().schema, schema, name);
      else refused(code, read, name);
    }
  });
}

test("files that are no manifest", () => {
  for (const { name, base64, code } of vectors("manifests").files) {
    refused(code, () => readManifest(new Uint8Array(Buffer.from(base64, "base64"))), name);
  }
});

test("containers: packed bundles, good and bad", () => {
  const all = bytes("containers.bin");
  for (const { what, at, length, code, files } of vectors("containers").cases) {
    const archive = all.slice(at, at + length);
    if (code !== null) {
      refused(code, () => readContainer(archive), what);
      continue;
    }
    const found = [...readContainer(archive)].map(([name, data]) => [name, data.byteOffset, data.length]);
    assert.deepEqual(found, files, what);
  }
});
