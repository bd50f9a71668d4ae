/** From generated tokens to what a caller gets: text, regions and words. */
import { phraseStart } from "./mentions.js";
import { readRegions } from "./regions.js";
import { inputSize } from "./schema2.js";
import { wordMaps } from "./words.js";

/** { text, regions, malformed } of tokens and their log-probabilities. `lang`: "" for a model without. */
export function readTokens(tokens, scores, { manifest, codec }, placement, lang) {
  const { regions: spec, image } = manifest;
  if (spec === null) return { text: codec.decode(tokens).trim(), regions: [], malformed: 0 };
  // Phrases begin as a language writes them, and the text is kept as it was generated.
  const how = lang ? { startOf: (text) => phraseStart(text, lang), strip: false } : {};
  const read = readRegions(tokens, codec, spec, inputSize(image), placement, scores, how);
  const regions = read.regions.map(({ start, end, boxes, scores: sure }) => ({
    phrase: read.text.slice(start, end), span: [start, end], boxes, scores: sure, confidences: [],
  }));
  return { ...read, regions };
}

/** All of a caption but what belongs to the call: placement and timings. */
export function readCaption(generated, model, placement, { lang, prompt }) {
  const { chosen, tokens, scores, score, complete } = generated;
  const read = readTokens(tokens, scores, model, placement, lang);
  return {
    ...read,
    raw: model.codec.decode(tokens, false),
    words: wordMaps(chosen, model.codec, model.manifest, read.text),
    lang,
    prompt,
    tokens,
    scores,
    score,
    complete,
  };
}
