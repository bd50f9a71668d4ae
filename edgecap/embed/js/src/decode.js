/**
 * The decode loop: from the state of an image to tokens, greedily, drawn, or by beam search.
 *
 * A `state` is one caption in progress: `feed(token)` gives { logits f32 [V], attention f32 [P] or
 * null }, `fork()` a copy that goes on by itself. A choice is { token, score, attention }: `score` is
 * the token's log-probability by the model, without the rules; `attention` that of its step.
 */
import { beamSearch } from "./beams.js";
import { logSoftmax, mostProbable } from "./logits.js";
import { noToken } from "./rules.js";

/** What was generated for one image. */
class Generated {
  constructor(choices, eos) {
    this.complete = choices.length > 0 && eos.includes(choices.at(-1).token);
    /** Mean log-probability of a token, the end token included. */
    this.score = choices.reduce((sum, { score }) => sum + score, 0) / Math.max(choices.length, 1);
    /** Without the end token. */
    this.chosen = this.complete ? choices.slice(0, -1) : choices;
  }

  get tokens() {
    return this.chosen.map(({ token }) => token);
  }

  get scores() {
    return this.chosen.map(({ score }) => score);
  }
}

/**
 * Decodes to the end. `choose(scores f32 [V] under the rules, count)` picks a token, and `onToken` is
 * called with each choice and waited for; neither with several beams.
 */
export async function generate(state, rules, choose = mostProbable, onToken = null) {
  const { spec } = rules;
  let step;
  for (const token of spec.begin) step = await state.feed(token);
  if (spec.beams > 1) return new Generated(await beamSearch(state, step, rules), spec.eos);
  const choices = [];
  let place = rules.start;
  for (let count = 0; count < spec.max_new_tokens; count += 1) {
    const scores = logSoftmax(step.logits);
    // Of the logits: two of them may round to one log-probability.
    const ruled = rules.constrained(step.logits, choices.map(({ token }) => token), place);
    if (ruled.every((score) => score === -Infinity)) throw noToken();
    const token = choose(ruled, count);
    const choice = { token, score: scores[token], attention: step.attention };
    choices.push(choice);
    if (spec.eos.includes(token)) break;
    place = rules.after(place, token);
    await onToken?.(choice);
    if (count + 1 < spec.max_new_tokens) step = await state.feed(token);
  }
  return new Generated(choices, spec.eos);
}
