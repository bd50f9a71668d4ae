/**
 * Tokens from a model of schema 2, by its GenerationSpec: greedy, drawn, or by beams as
 * transformers' generate(num_beams) does it (edgecap/runtime/beams.py spells the rules out).
 * A `sequence` has feed(token) -> { logits f32 [V] } and fork(). Letters: V vocabulary.
 */
import { branches } from "./decode.js";
import { applyRules, highest, logSoftmax, mostProbable } from "./logits.js";

async function begin(sequence, spec) {
  let step;
  for (const token of spec.begin) step = await sequence.feed(token);
  return step;
}

/** { tokens, scores, attention: per token, complete }, the end token left out. */
export async function generateBySpec(sequence, spec, choose = mostProbable, onToken = null) {
  if (spec.beams > 1) return byBeams(sequence, spec);
  const tokens = [];
  const scores = [];
  const attention = [];
  let step = await begin(sequence, spec);
  for (let count = 0; count < spec.max_new_tokens; count += 1) {
    const token = choose(applyRules(spec, step.logits, tokens), count);
    const score = logSoftmax(step.logits)[token];
    if (spec.eos.includes(token)) return { tokens, scores, attention, complete: true };
    tokens.push(token);
    scores.push(score);
    attention.push(step.attention);
    await onToken?.({ token, score });
    if (count + 1 < spec.max_new_tokens) step = await sequence.feed(token);
  }
  return { tokens, scores, attention, complete: false };
}

async function byBeams(sequence, spec) {
  const done = await beams(sequence, spec, (await begin(sequence, spec)).logits);
  const ends = done.tokens.length > 0 && spec.eos.includes(done.tokens.at(-1));
  const tokens = ends ? done.tokens.slice(0, -1) : done.tokens;
  const mean = done.total / Math.max(done.tokens.length, 1);
  return { tokens, scores: tokens.map(() => mean), attention: [], complete: ends };
}

/** The best finished hypothesis { tokens, total, score }. */
async function beams(sequence, spec, logits) {
  const ends = new Set(spec.eos);
  const considered = Math.max(2, 1 + ends.size) * spec.beams;
  const powered = (total, length) =>
    Math.fround(Math.fround(total) / Math.fround(length ** spec.length_penalty));
  let running = [{ tokens: [], total: 0, sequence, logits }];
  let done = [];
  for (let t = 1; t <= spec.max_new_tokens; t += 1) {
    const last = t === spec.max_new_tokens;
    const full = done.length === spec.beams;
    const opened = [];
    for (const [rank, [parent, token, total]] of candidates(spec, running, considered).entries()) {
      const tokens = [...parent.tokens, token];
      if (ends.has(token) || last) {
        if (rank < spec.beams && !(full && spec.early_stopping === "first")) {
          done.push({ tokens, total, score: powered(total, t) });
        }
      } else if (opened.length < spec.beams) opened.push({ parent, tokens, total });
    }
    done = done.sort((a, b) => b.score - a.score).slice(0, spec.beams); // stable
    if (!opened.length || cannotImprove(spec, opened[0].total, done, t, powered)) break;
    const sequences = branches(opened.map(({ parent }) => parent.sequence));
    running = [];
    for (const [i, { tokens, total }] of opened.entries()) {
      const step = await sequences[i].feed(tokens.at(-1));
      running.push({ tokens, total, sequence: sequences[i], logits: step.logits });
    }
  }
  return done[0] ?? { tokens: [], total: 0, score: 0 };
}

/** [parent, token, sum] of the best continuations, best first; sums are 32-bit floats. */
function candidates(spec, running, number) {
  const V = running[0].logits.length;
  const totals = new Float32Array(running.length * V);
  running.forEach(({ tokens, total, logits }, b) => {
    const ruled = applyRules(spec, logSoftmax(logits), tokens);
    for (let i = 0; i < V; i += 1) totals[b * V + i] = ruled[i] + Math.fround(total);
  });
  return highest(totals, number).map((place) => [running[Math.floor(place / V)], place % V, totals[place]]);
}

function cannotImprove(spec, total, done, t, powered) {
  if (done.length < spec.beams) return false;
  if (spec.early_stopping === "first") return true;
  const longest = spec.early_stopping === "never" && spec.length_penalty > 0;
  return powered(total, longest ? spec.max_new_tokens : t) <= done.at(-1).score;
}
