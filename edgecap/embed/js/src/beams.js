/**
 * Beam search equal to transformers' generate(num_beams=K), or, with early_stopping "ended", one in
 * which only an end token finishes a caption and sums are 64-bit floats. edgecap/runtime/beams.py
 * spells the rules out. States and choices as in decode.js. Letter: V vocabulary.
 */
import { highest, logSoftmax } from "./logits.js";
import { noToken } from "./rules.js";

/** The choices of the best caption, the end token included. `step`: of the last token of the prompt. */
export async function beamSearch(state, step, rules) {
  const { spec } = rules;
  const ends = new Set(spec.eos);
  const onlyEnded = spec.early_stopping === "ended";
  const considered = Math.max(2, 1 + ends.size) * spec.beams;
  let running = [{ choices: [], total: 0, place: rules.start, state, step }];
  let done = [];
  for (let t = 1; t <= spec.max_new_tokens; t += 1) {
    const last = t === spec.max_new_tokens;
    const full = done.length === spec.beams;
    const opened = [];
    for (const [rank, { parent, choice, total }] of candidates(rules, running, considered).entries()) {
      const { token } = choice;
      const choices = [...parent.choices, choice];
      const made = { choices, total, score: divided(spec, total, t), place: rules.after(parent.place, token), parent };
      if (ends.has(token) || (last && !onlyEnded)) {
        if (rank < spec.beams && !(full && spec.early_stopping === "first")) done.push(made);
      } else if (opened.length < spec.beams) opened.push(made);
    }
    done = ranked(done).slice(0, spec.beams);
    running = opened;
    if (!opened.length || last || cannotImprove(spec, opened[0].total, done, t)) break;
    const states = branches(opened.map(({ parent }) => parent.state));
    for (const [i, beam] of opened.entries()) {
      beam.state = states[i];
      beam.step = await beam.state.feed(beam.choices.at(-1).token);
      beam.parent = null;
    }
  }
  const [best] = done.length ? done : ranked(running);
  if (!best) throw noToken();
  return best.choices;
}

/** Best first; of equals, the earlier: a sort of JavaScript is stable. */
const ranked = (beams) => [...beams].sort((a, b) => b.score - a.score);

/** { parent, choice, total } of the best continuations, best first. */
function candidates(rules, running, number) {
  const scores = running.map(({ step }) => logSoftmax(step.logits)); // f32 [V] each
  const V = scores[0].length;
  const Sums = rules.spec.early_stopping === "ended" ? Float64Array : Float32Array;
  const totals = new Sums(running.length * V);
  running.forEach(({ choices, total, place }, b) => {
    const ruled = rules.constrained(scores[b], choices.map(({ token }) => token), place);
    for (let i = 0; i < V; i += 1) totals[b * V + i] = ruled[i] + total;
  });
  return highest(totals, number).map((at) => {
    const [parent, token] = [running[Math.floor(at / V)], at % V];
    const choice = { token, score: scores[Math.floor(at / V)][token], attention: parent.step.attention };
    return { parent, choice, total: totals[at] };
  });
}

/** A sum of log-probabilities, divided by length ** length_penalty. */
function divided(spec, total, length) {
  const by = length ** spec.length_penalty;
  return spec.early_stopping === "ended" ? total / by : Math.fround(Math.fround(total) / Math.fround(by));
}

/** Whether the search stops after t tokens although captions are open; `total`: of the best of these. */
function cannotImprove(spec, total, done, t) {
  if (done.length < spec.beams) return false;
  if (spec.early_stopping === "first") return true;
  const longest = spec.early_stopping === "never" && spec.length_penalty > 0;
  return divided(spec, total, longest ? spec.max_new_tokens : t) <= done.at(-1).score;
}

/** A state for each child: the first of a parent goes on with the parent's, others fork it. */
function branches(parents) {
  const taken = new Set();
  // Forked before anything is fed.
  return parents.map((parent) => {
    if (taken.has(parent)) return parent.fork();
    taken.add(parent);
    return parent;
  });
}
