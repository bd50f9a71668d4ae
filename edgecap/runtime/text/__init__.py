"""Ids to text in four tokenizer families, without a tokenizer library."""

from edgecap.runtime.text.codec import TextCodec, TextStream

__all__ = ["TextCodec", "TextStream"]
