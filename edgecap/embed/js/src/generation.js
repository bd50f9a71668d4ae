/**
 * Tokens from a model of schema 2, by its GenerationSpec: greedy, drawn, or by beams as
 * transformers' generate(num_beams) does it (edgecap/runtime/beams.py spells the rules out).
 * A `sequence` has feed(token) -> { logits f32 [V] } and fork(). Letters: V vocabulary.
 */
import { branches } from "./decode.js";
import { EdgecapError } from "./errors.js";
import { applyRules, highest, logSoftmax, mostProbable } from "./logits.js";

async function begin(sequence, spec) {
  let step;
  for (const token of spec.begin) step = await sequence.feed(token);
  return step;
}

const noToken = () => new EdgecapError("bundle.generation", "the rules of generation allow no token.");
const idsOf = (chosen) => chosen.map((choice) => choice.token);

/**
 * { tokens, scores, attention: per token, the end token left out; score, complete }. `scores` are
 * log-probabilities by the model, without the rules; `score` is their mean, the end token included.
 */
export async function generateBySpec(sequence, spec, choose = mostProbable, onToken = null) {
  if (spec.beams > 1) return generated(spec, (await byBeams(sequence, spec)).chosen);
  const chosen = [];
  let step = await begin(sequence, spec);
  for (let count = 0; count < spec.max_new_tokens; count += 1) {
    const scores = logSoftmax(step.logits);
    const ruled = applyRules(spec, step.logits, idsOf(chosen));
    if (ruled.every((score) => score === -Infinity)) throw noToken();
    const token = choose(ruled, count);
    const choice = { token, score: scores[token], attention: step.attention };
    chosen.push(choice);
    if (spec.eos.includes(token)) break;
    await onToken?.(choice);
    if (count + 1 < spec.max_new_tokens) step = await sequence.feed(token);
  }
  return generated(spec, chosen);
}

/** What is returned of the choices { token, score, attention }, the end token included. */
function generated(spec, chosen) {
  const complete = chosen.length > 0 && spec.eos.includes(chosen.at(-1).token);
  const kept = complete ? chosen.slice(0, -1) : chosen;
  return {
    tokens: idsOf(kept),
    scores: kept.map((choice) => choice.score),
    attention: kept.map((choice) => choice.attention),
    score: chosen.reduce((sum, choice) => sum + choice.score, 0) / Math.max(chosen.length, 1),
    complete,
  };
}

/**
 * The best finished hypothesis { chosen, total, score }: `total` is the sum under the rules, and
 * `score` is total / length ** length_penalty. The search ranks by both.
 */
async function byBeams(sequence, spec) {
  const ends = new Set(spec.eos);
  const considered = Math.max(2, 1 + ends.size) * spec.beams;
  const powered = (total, length) =>
    Math.fround(Math.fround(total) / Math.fround(length ** spec.length_penalty));
  let running = [{ chosen: [], total: 0, sequence, step: await begin(sequence, spec) }];
  let done = [];
  for (let t = 1; t <= spec.max_new_tokens; t += 1) {
    const last = t === spec.max_new_tokens;
    const full = done.length === spec.beams;
    const opened = [];
    for (const [rank, { parent, choice, total }] of candidates(spec, running, considered).entries()) {
      const chosen = [...parent.chosen, choice];
      if (ends.has(choice.token) || last) {
        if (rank < spec.beams && !(full && spec.early_stopping === "first")) {
          done.push({ chosen, total, score: powered(total, t) });
        }
      } else if (opened.length < spec.beams) opened.push({ parent, chosen, total });
    }
    done = done.sort((a, b) => b.score - a.score).slice(0, spec.beams); // stable
    if (!opened.length || cannotImprove(spec, opened[0].total, done, t, powered)) break;
    const sequences = branches(opened.map(({ parent }) => parent.sequence));
    running = [];
    for (const [i, { chosen, total }] of opened.entries()) {
      const step = await sequences[i].feed(chosen.at(-1).token);
      running.push({ chosen, total, sequence: sequences[i], step });
    }
  }
  if (!done.length) throw noToken();
  return done[0];
}

/** { parent, choice, total } of the best continuations, best first; totals are 32-bit floats. */
function candidates(spec, running, number) {
  const scores = running.map(({ step }) => logSoftmax(step.logits)); // [V] each
  const V = scores[0].length;
  const totals = new Float32Array(running.length * V);
  running.forEach(({ chosen, total }, b) => {
    const ruled = applyRules(spec, scores[b], idsOf(chosen));
    for (let i = 0; i < V; i += 1) totals[b * V + i] = ruled[i] + Math.fround(total);
  });
  return highest(totals, number).map((place) => {
    const [b, token] = [Math.floor(place / V), place % V];
    const choice = { token, score: scores[b][token], attention: running[b].step.attention };
    return { parent: running[b], choice, total: totals[place] };
  });
}

function cannotImprove(spec, total, done, t, powered) {
  if (done.length < spec.beams) return false;
  if (spec.early_stopping === "first") return true;
  const longest = spec.early_stopping === "never" && spec.length_penalty > 0;
  return powered(total, longest ? spec.max_new_tokens : t) <= done.at(-1).score;
}
