/** Generated tokens grouped into words and boxes, each with its attention map (schema 1). */
import { SPACE } from "./tokenizer.js";

const ALPHABETIC = /^\p{L}+$/u;

/**
 * `chosen`: [{ token, attention f32 [P] }]. Gives [{ text, isBox, tokens: [from, to), map f32 [G*G] }],
 * which together cover all tokens; a map is the mean over the word's tokens.
 */
export function wordMaps(chosen, tokenizer, { first, bins }) {
  const isPlace = (token) => token >= first && token < first + bins;
  const tokens = chosen.map((choice) => choice.token);
  const starts = wordStarts(tokens, tokenizer, isPlace);
  return starts.map((start, i) => {
    const end = starts[i + 1] ?? tokens.length;
    const part = chosen.slice(start, end);
    const map = new Float32Array(part[0].attention.length);
    for (const { attention } of part) attention.forEach((value, p) => { map[p] += value / part.length; });
    const text = tokenizer.decode(tokens.slice(start, end)).trim();
    return { text, isBox: isPlace(tokens[start]), tokens: [start, end], map };
  });
}

function wordStarts(tokens, tokenizer, isPlace) {
  const starts = [];
  let box = 0; // location tokens in the current box
  tokens.forEach((token, i) => {
    if (isPlace(token)) {
      if (box % 4 === 0) starts.push(i);
      box += 1;
      return;
    }
    const afterBox = box > 0;
    box = 0;
    if (i === 0 || afterBox || !continues(tokens[i - 1], token, tokenizer)) starts.push(i);
  });
  return starts;
}

/** Whether `token` goes on with the word of `before`. */
function continues(before, token, tokenizer) {
  if (tokenizer.isByte(token)) return tokenizer.isByte(before);
  const text = tokenizer.tokens[token];
  const letters = ALPHABETIC.test(text) && [...text].every((c) => c.codePointAt(0) < 0x2e80); // no CJK
  const earlier = [...tokenizer.tokens[before].replace(new RegExp(`^${SPACE}+`, "u"), "")];
  return letters && (!earlier.length || ALPHABETIC.test(earlier.at(-1)));
}
