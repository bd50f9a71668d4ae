/** The options of a call, checked: the prompt, the rules of generation and how tokens are chosen. */
import { EdgecapError, pick } from "./errors.js";
import { TokenGrammar } from "./grammar.js";
import { functionNamed } from "./interface.js";
import { resolveLanguage } from "./language.js";
import { Rules } from "./rules.js";
import { promptName } from "./schema2.js";

/**
 * { lang, prompt, rules, sampling } of the options that were given. `tokenizer`: of a model with
 * languages, else null. Refuses (model.capability, language.unknown, style.unknown, prompt.unknown,
 * caption.length) what the model cannot do.
 */
export function requestOf(manifest, tokenizer, options) {
  if (!functionNamed(manifest.interface, "decode")) {
    throw new EdgecapError("model.capability", `${manifest.name} embeds images and texts; it does not generate captions.`);
  }
  const { lang, prompt, key, start } = (tokenizer ? byLanguage : byName)(manifest, options);
  const spec = limited(manifest.prompts[key], options);
  const { dims } = manifest.interface;
  const grammar = start && manifest.grammar ? new TokenGrammar(manifest.grammar, start, dims.V, tokenizer.size) : null;
  return { lang, prompt, rules: new Rules(spec, grammar), sampling: options.sampling ?? null };
}

/** The prompt of a language and a style, and where its grammar starts; null: without one. */
function byLanguage({ languages, styles }, { lang, prompt, grounded = true, rule = true }) {
  const language = resolveLanguage(lang ?? (languages.includes("en") ? "en" : languages[0]), languages);
  const style = pick("style", prompt ?? (grounded ? "grounded" : "plain"), styles);
  const boxes = grounded && style !== "plain";
  return { lang: language, prompt: style, key: promptName(language, style), start: rule ? (boxes ? "boxes" : "plain") : null };
}

function byName({ name, prompts }, { lang, prompt, grounded, rule }) {
  const names = Object.keys(prompts);
  for (const [option, value] of Object.entries({ lang, grounded, rule })) {
    if (value !== undefined) {
      throw new EdgecapError("model.capability", `${name} has no ${option}.`, `Prompts: ${names.join(", ")}.`);
    }
  }
  const key = pick("prompt", prompt ?? names[0], names);
  return { lang: "", prompt: key, key, start: null };
}

/** The same spec with a lower token limit, or another number of beams. */
function limited(spec, { maxLength = spec.max_new_tokens, beams, sampling }) {
  if (!Number.isInteger(maxLength) || maxLength < 1 || maxLength > spec.max_new_tokens) {
    throw new EdgecapError("caption.length", `maxLength must be in 1 … ${spec.max_new_tokens}, got ${maxLength}.`);
  }
  return {
    ...spec,
    max_new_tokens: maxLength,
    min_new_tokens: Math.min(spec.min_new_tokens, maxLength),
    beams: beams ?? (sampling ? 1 : spec.beams),
  };
}
