/** Which tokens may come next: the rules of a GenerationSpec and of a token grammar. Letter: V vocabulary. */
import { EdgecapError } from "./errors.js";
import { applyRules } from "./logits.js";

/** What is thrown where the rules forbid every token. */
export const noToken = () => new EdgecapError("bundle.generation", "the rules of generation allow no token.");

/** The rules of one request. `grammar`: a TokenGrammar; null: any token may follow any other. */
export class Rules {
  constructor(spec, grammar = null) {
    Object.assign(this, { spec, grammar });
  }

  /** The grammar's state before the first token. */
  get start() {
    return this.grammar?.start ?? "";
  }

  /** The grammar's state after `token`. */
  after(state, token) {
    return this.grammar?.after(state, token) ?? state;
  }

  /** Scores f32 [V] after `tokens` under the rules, -Infinity for what may not come. */
  constrained(scores, tokens, state) {
    const ruled = applyRules(this.spec, scores, tokens);
    if (this.grammar === null) return ruled;
    const allowed = this.grammar.allowed(state, tokens, this.spec.max_new_tokens - tokens.length);
    for (let id = 0; id < ruled.length; id += 1) if (!allowed[id]) ruled[id] = -Infinity;
    return ruled;
  }
}
