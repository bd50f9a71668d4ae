/** Generated tokens grouped into words and boxes, each with its attention map. Letter: P image rows. */

const LETTER = /[\p{L}\p{M}\p{N}]/u;
const SPACE = /^\s+$/u;
const REPLACEMENT = "\uFFFD";
const CJK = 0x2e80; // from here on, scripts without spaces: every token is a word

/**
 * [{ text, isBox, tokens: [from, to), span, map: { data f32 [rows*columns], rows, columns } }], which
 * together cover all tokens; a map is the mean over the word's tokens. Empty where the model gives no
 * attention. `chosen`: [{ token, attention f32 [P] }]; `text`: the caption's, in which spans lie.
 */
export function wordMaps(chosen, codec, { interface: { attention: grid }, regions }, text) {
  if (grid === null) return [];
  const isPlace = (token) => regions !== null && token >= regions.first && token < regions.first + regions.count;
  const marks = Object.values(regions?.marks ?? {});
  const tokens = chosen.map((choice) => choice.token);
  const said = (n) => codec.decode(tokens.slice(0, n).filter((token) => !isPlace(token) && !marks.includes(token)));
  const lead = said(tokens.length).indexOf(text);
  const starts = wordStarts(tokens, codec, isPlace, regions?.codec === "cells2" ? 2 : 4);
  return starts.map((start, i) => {
    const end = starts[i + 1] ?? tokens.length;
    const [before, upTo] = [said(start), said(end)];
    const from = upTo.length - upTo.slice(before.length).trimStart().length;
    const isBox = isPlace(tokens[start]);
    return {
      text: codec.decode(tokens.slice(start, end), false).trim(),
      isBox,
      tokens: [start, end],
      span: isBox ? null : [from - lead, upTo.length - lead],
      map: { data: meanMap(chosen.slice(start, end), grid), rows: grid.rows, columns: grid.columns },
    };
  });
}

function meanMap(choices, { rows, columns, first }) {
  const map = new Float32Array(rows * columns);
  for (const { attention } of choices) {
    for (let p = 0; p < map.length; p += 1) map[p] += attention[first + p] / choices.length;
  }
  return map;
}

/** As edgecap/runtime/words.py. */
function wordStarts(tokens, codec, isPlace, perBox) {
  const starts = [];
  let [places, before] = [0, ""]; // places in the current run of boxes; the text before, if that is no place
  for (let at = 0; at < tokens.length; ) {
    if (isPlace(tokens[at])) {
      if (places % perBox === 0) starts.push(at);
      [places, before, at] = [places + 1, "", at + 1];
    } else {
      const [end, text] = readable(tokens, at, codec);
      if (!continues(before, text)) starts.push(at);
      [places, before, at] = [0, text, end];
    }
  }
  return starts;
}

/**
 * The end and the text of the fewest tokens from `at` that hold whole characters. A token may be a
 * part of a character, which has at most four bytes; no text if it stays one.
 */
function readable(tokens, at, codec) {
  for (let end = at + 1; end <= Math.min(at + 4, tokens.length); end += 1) {
    const text = codec.inside(tokens.slice(at, end));
    if (!text.includes(REPLACEMENT)) return [end, text];
  }
  return [at + 1, ""];
}

/** Whether `text` continues the word that `before` ends: no space, and letters on both sides. */
function continues(before, text) {
  if (SPACE.test(before)) return true; // a space that is a token of its own belongs to what follows
  return isLetter([...before].at(-1)) && isLetter([...text][0]);
}

/** Letters, the marks on them and digits, of a script that has spaces between words. */
function isLetter(character) {
  return character !== undefined && LETTER.test(character) && character.codePointAt(0) < CJK;
}
