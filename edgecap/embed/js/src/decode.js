/**
 * Tokens from a model of schema 1: greedy, drawn, or by beams, under the rule of generation.
 *
 * A `sequence` is one caption in progress: `feed(token)` gives { logits f32 [V], attention f32 [P] },
 * `fork()` a copy that goes on by itself. Limits: { eos, length, rule: TokenGrammar | null }.
 */
import { highest, logSoftmax, mostProbable } from "./logits.js";

const startOf = (limits) => limits.rule?.start ?? "";

function constrained(limits, scores, state, tokens) {
  if (limits.rule === null) return scores;
  const mask = limits.rule.allowed(state, tokens, limits.length - tokens.length);
  return scores.map((score, i) => (mask[i] ? score : -Infinity));
}

const after = (limits, state, token) => limits.rule?.after(state, token) ?? "";

/** What was generated, without <eos>. `chosen`: [{ token, score, attention }]. */
class Generated {
  constructor(chosen = [], complete = false, endScore = 0) {
    Object.assign(this, { chosen, complete, endScore });
  }

  get tokens() {
    return this.chosen.map((choice) => choice.token);
  }

  get total() {
    return this.chosen.reduce((sum, choice) => sum + choice.score, 0);
  }

  /** Mean log-probability of a token, the end included: beams are ranked by it. */
  get score() {
    return (this.total + this.endScore) / Math.max(this.chosen.length + Number(this.complete), 1);
  }
}

async function feedAll(sequence, prompt) {
  let step;
  for (const token of prompt) step = await sequence.feed(token);
  return step;
}

/**
 * One token after the other. `choose(scores, count)` takes scores [V] under the rule; `onToken` is
 * called with each choice, and may be async.
 */
export async function generate(sequence, prompt, limits, choose = mostProbable, onToken = null) {
  const chosen = [];
  const tokens = [];
  let state = startOf(limits);
  let step = await feedAll(sequence, prompt);
  for (let count = 0; count < limits.length; count += 1) {
    const scores = logSoftmax(step.logits);
    // Of the logits: two of them may round to one log-probability.
    const token = choose(constrained(limits, step.logits, state, tokens), count);
    if (token === limits.eos) return new Generated(chosen, true, scores[token]);
    const choice = { token, score: scores[token], attention: step.attention };
    tokens.push(token);
    chosen.push(choice);
    state = after(limits, state, token);
    await onToken?.(choice);
    if (count + 1 < limits.length) step = await sequence.feed(token);
  }
  return new Generated(chosen);
}

/** The best of several sequences by mean log-probability per token; conformance/README.md has the rules. */
export async function beamSearch(sequence, prompt, limits, beams) {
  const first = await feedAll(sequence, prompt);
  // A live beam: what it said, its state in the rule, its sequence, and its last step.
  let live = [{ said: new Generated(), state: startOf(limits), sequence, step: first }];
  let finished = [];
  for (let count = 0; count < limits.length; count += 1) {
    const scores = live.map((beam) => logSoftmax(beam.step.logits));
    const V = scores[0].length;
    const candidates = new Float64Array(live.length * V);
    live.forEach((beam, b) => {
      const total = beam.said.total;
      constrained(limits, scores[b], beam.state, beam.said.tokens).forEach((score, token) => {
        candidates[b * V + token] = total + score;
      });
    });
    const continued = [];
    for (const [rank, place] of highest(candidates, 2 * beams).entries()) {
      const parent = live[Math.floor(place / V)];
      const token = place % V;
      const score = scores[Math.floor(place / V)][token];
      if (token !== limits.eos) {
        const choice = { token, score, attention: parent.step.attention };
        continued.push({ parent, said: new Generated([...parent.said.chosen, choice]) });
      } else if (rank < beams) {
        finished.push(new Generated(parent.said.chosen, true, score));
      }
      if (continued.length === beams) break;
    }
    finished = finished.sort((a, b) => b.score - a.score).slice(0, beams);
    const open = continued.map(({ said }) => said);
    const enough = finished.length === beams && finished.at(-1).score >= Math.max(...open.map((s) => s.score));
    if (!open.length || enough || count + 1 === limits.length) {
      return best(finished.length ? finished : open);
    }
    const sequences = branches(continued.map(({ parent }) => parent.sequence));
    live = [];
    for (const [i, { parent, said }] of continued.entries()) {
      const token = said.tokens.at(-1);
      const state = after(limits, parent.state, token);
      live.push({ said, state, sequence: sequences[i], step: await sequences[i].feed(token) });
    }
  }
  return best(finished.length ? finished : live.map(({ said }) => said));
}

const best = (all) => all.reduce((a, b) => (b.score > a.score ? b : a));

/** A sequence of its own for each child: the first of a parent goes on with it, others fork it. */
export function branches(parents) {
  const taken = new Set();
  // Forked before anything is fed.
  return parents.map((parent) => {
    if (taken.has(parent)) return parent.fork();
    taken.add(parent);
    return parent;
  });
}
