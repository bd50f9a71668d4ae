/**
 * Scores of the next token: log-softmax, and the rules of a GenerationSpec, equal to
 * transformers' LogitsProcessor classes of the same names. Letters: V vocabulary.
 */
import { EdgecapError } from "./errors.js";

/** Natural log of the softmax of f32 [V]; bundle.not_finite for NaN or infinity. */
export function logSoftmax(logits) {
  // Loops by index: iterators and callbacks take ten times as long, every step.
  let highest = -Infinity;
  for (let i = 0; i < logits.length; i += 1) {
    if (!Number.isFinite(logits[i])) {
      throw new EdgecapError("bundle.not_finite", "the model's scores hold NaN or infinity.");
    }
    if (logits[i] > highest) highest = logits[i];
  }
  let sum = 0;
  for (let i = 0; i < logits.length; i += 1) sum += Math.exp(logits[i] - highest);
  const log = Math.log(sum);
  const scores = new Float32Array(logits.length);
  for (let i = 0; i < logits.length; i += 1) scores[i] = logits[i] - highest - log;
  return scores;
}

/** Greedy: the highest of scores [V], of equals the lower id. */
export function mostProbable(scores) {
  let best = 0;
  for (let i = 1; i < scores.length; i += 1) if (scores[i] > scores[best]) best = i;
  return best;
}

/**
 * Places of the `number` highest finite values, best first, of equals the lower place. Only those
 * at or above the last that counts are sorted: a vocabulary is large.
 */
export function highest(values, number) {
  const finite = Float64Array.from(values.filter((value) => value > -Infinity));
  const floor = finite.length > number ? finite.sort()[finite.length - number] : -Infinity;
  const places = [];
  for (let i = 0; i < values.length; i += 1) if (values[i] >= floor && values[i] > -Infinity) places.push(i);
  return places.sort((a, b) => values[b] - values[a] || a - b).slice(0, number);
}

/** Scores f32 [V] under all rules of a spec, -Infinity for what may not come; `generated` so far. */
export function applyRules(spec, scores, generated) {
  const ruled = scores.slice();
  const count = generated.length;
  const suppress = (ids) => {
    for (const id of ids) if (id < ruled.length) ruled[id] = -Infinity;
  };
  const force = (ids) => {
    ruled.fill(-Infinity);
    for (const id of ids) ruled[id] = 0;
  };
  if (spec.repetition_penalty !== 1 || spec.no_repeat_ngram > 0) {
    const history = [...spec.prefix, ...spec.begin, ...generated];
    if (spec.repetition_penalty !== 1) penalise(ruled, history, Math.fround(spec.repetition_penalty));
    suppress(repeated(history, spec.no_repeat_ngram));
  }
  if (count < spec.min_new_tokens) suppress(spec.eos);
  if (count === 0 && spec.forced_first !== null) force([spec.forced_first]);
  if (count === spec.max_new_tokens - 1 && spec.forced_last.length) force(spec.forced_last);
  suppress(spec.suppress);
  if (count === spec.suppress_first_at) suppress(spec.suppress_first);
  return ruled;
}

/** Positive scores of ids seen before are divided, negative ones multiplied (arXiv 1909.05858). */
function penalise(scores, history, factor) {
  for (const id of new Set(history)) {
    if (id < scores.length) scores[id] = scores[id] < 0 ? scores[id] * factor : scores[id] / factor;
  }
}

/** Ids that would complete a run of `size` seen before. */
function repeated(history, size) {
  if (size < 1 || history.length < size) return [];
  const suffix = history.slice(history.length + 1 - size);
  const found = [];
  for (let i = 0; i + size <= history.length; i += 1) {
    if (suffix.every((id, j) => history[i + j] === id)) found.push(history[i + size - 1]);
  }
  return found;
}
