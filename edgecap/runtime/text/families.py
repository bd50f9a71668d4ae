"""Incremental decoders of the four tokenizer families: push a token, get text.

Incomplete output (half a UTF-8 character) is buffered until a later push or `finish`.
Equal to the decoders of the tokenizers library 0.23: ByteLevel; Replace, ByteFallback, Fuse, Strip;
WordPiece; Metaspace.
"""

from __future__ import annotations

import codecs
from typing import Protocol

from edgecap.bundle.text_spec import TextSpec

REPLACEMENT = "\ufffd"
_HEX = frozenset("0123456789abcdefABCDEF")


class TokenDecoder(Protocol):
    """Decodes the tokens of one text, in order."""

    def push(self, token: str) -> str:
        """The text completed by this token."""
        ...

    def finish(self) -> str:
        """The remaining text, after the last token."""
        ...


def token_decoder(spec: TextSpec) -> TokenDecoder:
    """A new decoder for one text."""
    if spec.family == "byte_fallback":
        return _ByteFallback(spec)
    if spec.family == "byte_level":
        return _ByteLevel()
    if spec.family == "wordpiece":
        return _WordPiece(spec)
    return _Metaspace(spec)


def byte_characters() -> dict[str, int]:
    """GPT-2's character -> byte: printable Latin-1 maps to itself, other bytes from U+0100.

    (openai/gpt-2, encoder.py, bytes_to_unicode.)
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    return table | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = byte_characters()


class _ByteLevel:
    """Characters of a token are bytes; a token with any other character is encoded as UTF-8."""

    def __init__(self) -> None:
        # Each maximal subpart of an invalid sequence becomes one U+FFFD, as Unicode recommends
        # (ch. 3, "U+FFFD Substitution of Maximal Subparts") and Rust's from_utf8_lossy does.
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: str) -> str:
        try:
            data = bytes([_BYTE_OF[character] for character in token])
        except KeyError:
            data = token.encode("utf-8")
        return self._utf8.decode(data)

    def finish(self) -> str:
        return self._utf8.decode(b"", True)


class _ByteFallback:
    """<0xNN> is a byte. A run of bytes is text if all of it is UTF-8, else one U+FFFD per byte."""

    def __init__(self, spec: TextSpec) -> None:
        self._space, self._strip = spec.space, spec.strip
        self._run = bytearray()

    def push(self, token: str) -> str:
        byte = byte_of(token)
        if byte is not None:
            self._run.append(byte)
            return ""
        return self._stripped(self._end_run() + token.replace(self._space, " "))

    def finish(self) -> str:
        return self._stripped(self._end_run())

    def _end_run(self) -> str:
        try:
            text = self._run.decode("utf-8")
        except UnicodeDecodeError:
            text = REPLACEMENT * len(self._run)
        self._run.clear()
        return text

    def _stripped(self, text: str) -> str:
        """Remove leading spaces of the text as long as `strip` allows."""
        while self._strip and text:
            if not text.startswith(" "):
                self._strip = 0
                break
            text, self._strip = text[1:], self._strip - 1
        return text


def byte_of(token: str) -> int | None:
    """The byte of a token <0xNN>."""
    hexadecimal = token[3:5]
    if len(token) == 6 and token[:3] == "<0x" and token[5] == ">" and _HEX.issuperset(hexadecimal):
        return int(hexadecimal, 16)
    return None


class _WordPiece:
    """Words are joined by spaces; a token that begins with the prefix continues the word."""

    def __init__(self, spec: TextSpec) -> None:
        self._prefix, self._clean = spec.prefix, spec.clean_tokens
        self._first = True

    def push(self, token: str) -> str:
        if not self._first:
            continues = token.startswith(self._prefix)
            token = token.removeprefix(self._prefix) if continues else f" {token}"
        self._first = False
        return clean_token(token) if self._clean else token

    def finish(self) -> str:
        return ""


# The clean-up of tokenizers' WordPiece decoder, in this order; it has one rule more than
# transformers (cleanup.py).
_TOKEN_RULES = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


def clean_token(token: str) -> str:
    """A token without the space before English punctuation and contractions."""
    for found, written in _TOKEN_RULES:
        token = token.replace(found, written)
    return token


class _Metaspace:
    """`space` becomes a space; in the first token it is removed if `drop_first` is set."""

    def __init__(self, spec: TextSpec) -> None:
        self._space, self._written = spec.space, "" if spec.drop_first else " "

    def push(self, token: str) -> str:
        text = token.replace(self._space, self._written)
        self._written = " "
        return text

    def finish(self) -> str:
        return ""
