/** What turns a bundle's ids into text and texts into ids. */
import { TextCodec } from "./text_codec.js";
import { SPACE, Tokenizer } from "./tokenizer.js";
import { upgraded } from "./upgrade.js";

/**
 * { manifest, codec, tokenizer } of a bundle: its manifest in schema 2, a TextCodec, or null for a
 * model without captions, and the Tokenizer of a model with languages, else null. Refuses bundle.*,
 * tokenizer.*.
 */
export function openVocabulary({ manifest, read }) {
  if (manifest.schema === 1) {
    const { file } = manifest.tokenizer;
    const tokenizer = new Tokenizer(read(file), file);
    return { manifest: upgraded(manifest, tokenizer), codec: codecOf(tokenizer), tokenizer };
  }
  const { tokenizer: file, encoder, languages } = manifest;
  return {
    manifest,
    codec: file && TextCodec.fromBytes(read(file), file),
    tokenizer: languages.length && encoder ? new Tokenizer(read(encoder), encoder) : null,
  };
}

/** Decodes what a tokenizer encodes: one space at the beginning is taken off. */
export function codecOf(tokenizer) {
  const special = [...tokenizer.special.values()].sort((a, b) => a - b);
  return new TextCodec({ family: "byte_fallback", tokens: tokenizer.tokens, special, space: SPACE, strip: 1, clean_up: false });
}
