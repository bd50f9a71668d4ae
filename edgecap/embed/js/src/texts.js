/** Texts to embed as ids int32 [1,N] and their length. Letter: N tokens of a text. */
import { EdgecapError } from "./errors.js";
import { int32 } from "./tensors.js";

/**
 * The inputs of encode_text. The bundle's own tokenizer makes the ids where it is here, between
 * those of the manifest's `texts`; else the caller's `encode` does. Refuses text.*, prompts.none.
 */
export async function textInputs({ manifest, tokenizer }, text, encode) {
  const { N } = manifest.interface.dims;
  const around = tokenizer && manifest.texts;
  const ids = around ? framed(tokenizer, around, N, text) : await encodedBy(encode, N, text);
  const padded = Array.from({ length: N }, (_, i) => ids[i] ?? around?.pad ?? 0);
  return { tokens: int32(padded, [1, N]), length: int32([ids.length], [1]) };
}

function framed(tokenizer, { begin, end }, N, text) {
  if (typeof text !== "string") throw new EdgecapError("text.type", `a text must be a string, got ${typeof text}.`);
  const stripped = text.trim();
  if (!stripped) throw new EdgecapError("text.empty", "an empty text cannot be embedded.");
  const room = N - begin.length - end.length;
  const longestToken = Math.max(...tokenizer.tokens.map((token) => token.length));
  // Before anything is merged: a text of megabytes would take minutes.
  const words = stripped.length > 4 * room * longestToken ? null : tokenizer.encode(stripped);
  if (words === null || words.length > room) {
    throw new EdgecapError(
      "text.too_long",
      `the text ${stripped.slice(0, 30)}… has ${words?.length ?? "too many"} tokens; at most ${room} fit.`,
      "Shorten it.",
    );
  }
  return [...begin, ...words, ...end];
}

async function encodedBy(encode, N, text) {
  if (typeof encode !== "function") {
    throw new EdgecapError(
      "prompts.none",
      "this model's texts need its own tokenizer, which this package does not have.",
      "Give encode: (text) => ids, made from the bundle's prompts.json.",
    );
  }
  const ids = [...(await encode(text))];
  if (!ids.length || ids.length > N) {
    throw new EdgecapError("text.too_long", `a text makes ${ids.length} tokens; 1 to ${N} are possible.`);
  }
  return ids;
}
