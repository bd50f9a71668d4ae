/** Language tags of phones and browsers: BCP 47, matched by the Lookup scheme of RFC 4647. */
import { pick } from "./errors.js";

// Subtags that a plain language does not match: "zh" is Chinese in simplified characters, so a
// request for traditional ones is refused instead of answered in the wrong script.
const OTHER_SCRIPT = { zh: ["hant", "tw", "hk", "mo"] };

/**
 * The allowed language that matches a tag: "pt-BR" and "pt_BR" match "pt". The whole tag is compared
 * first, then the tag without its last subtag, and so on, ignoring case; language.unknown if none matches.
 */
export function resolveLanguage(tag, allowed) {
  if (typeof tag !== "string" || allowed.includes(tag)) return pick("language", tag, allowed);
  const subtags = tag.trim().toLowerCase().replaceAll("_", "-").split("-");
  for (let length = subtags.length; length > 0; length -= 1) {
    const name = allowed.find((one) => one.toLowerCase() === subtags.slice(0, length).join("-"));
    if (name === undefined) continue;
    const other = subtags.slice(length).some((subtag) => OTHER_SCRIPT[name]?.includes(subtag));
    if (other && !subtags.includes("hans")) break;
    return name;
  }
  return pick("language", tag, allowed);
}
