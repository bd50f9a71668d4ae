"""The text codec of a byte-fallback BPE tokenizer."""

from __future__ import annotations

from edgecap.bundle.text_spec import TextSpec
from edgecap.runtime.text.codec import TextCodec
from edgecap.runtime.tokenizer import SPACE, Tokenizer


def codec_of(tokenizer: Tokenizer) -> TextCodec:
    """Decodes what `tokenizer` encodes: one leading space is removed."""
    tokens = tuple(tokenizer.tokens[i] for i in range(len(tokenizer)))
    special = tuple(sorted(tokenizer.special.values()))
    return TextCodec(TextSpec("byte_fallback", tokens, special, space=SPACE, strip=1))
