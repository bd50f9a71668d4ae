/** Generated tokens grouped into words and boxes, each with its attention map. Letter: P image rows. */

const ALPHABETIC = /^\p{L}+$/u;

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
  const starts = wordStarts(tokens, codec, isPlace);
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

function wordStarts(tokens, codec, isPlace) {
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
    if (i === 0 || afterBox || !continues(tokens[i - 1], token, codec)) starts.push(i);
  });
  return starts;
}

/** Whether `token` goes on with the word of `before`. */
function continues(before, token, codec) {
  if (codec.isByte(token)) return codec.isByte(before);
  const text = codec.inside(token);
  const letters = ALPHABETIC.test(text) && [...text].every((c) => c.codePointAt(0) < 0x2e80); // no CJK
  const earlier = [...codec.inside(before).trimStart()];
  return letters && (!earlier.length || ALPHABETIC.test(earlier.at(-1)));
}
