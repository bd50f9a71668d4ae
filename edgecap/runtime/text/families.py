"""The four ways in which tokens spell text, each a small machine: push a token, get text.

What a machine cannot decide yet (half a UTF-8 character) it keeps until a later push or `finish`.
Equal to the decoders of the tokenizers library 0.23: ByteLevel; Replace, ByteFallback, Fuse, Strip;
WordPiece; Metaspace.
"""

from __future__ import annotations

import codecs
from typing import Protocol

from edgecap.bundle.text_spec import TextSpec

REPLACEMENT = "\ufffd"
_HEX = frozenset("0123456789abcdefABCDEF")


class Speller(Protocol):
    """Tokens of one text, in order."""

    def push(self, token: str) -> str:
        """The text that this token settles."""
        ...

    def finish(self) -> str:
        """The rest, when no token follows."""
        ...


def speller(spec: TextSpec) -> Speller:
    """A new machine for one text."""
    if spec.family == "byte_fallback":
        return _ByteFallback(spec)
    if spec.family == "byte_level":
        return _ByteLevel()
    if spec.family == "wordpiece":
        return _WordPiece(spec)
    return _Metaspace(spec)


def byte_characters() -> dict[str, int]:
    """GPT-2's character of every byte: printable Latin-1 stands for itself, the rest from U+0100.

    (openai/gpt-2, encoder.py, bytes_to_unicode.)
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    return table | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = byte_characters()


class _ByteLevel:
    """A token's characters are bytes; a token with any other character is its own UTF-8."""

    def __init__(self) -> None:
        # Each maximal part of a broken character becomes one U+FFFD, as Unicode recommends (ch. 3,
        # "U+FFFD Substitution of Maximal Subparts"); Rust's from_utf8_lossy does the same.
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
        byte = _byte_of(token)
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
        """Without the spaces that are still to be taken off the beginning."""
        while self._strip and text:
            if not text.startswith(" "):
                self._strip = 0
                break
            text, self._strip = text[1:], self._strip - 1
        return text


def _byte_of(token: str) -> int | None:
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


# The clean-up of tokenizers' WordPiece decoder, in this order; one more than transformers' own.
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
    """A token with the space before it gone where English writes none."""
    for found, written in _TOKEN_RULES:
        token = token.replace(found, written)
    return token


class _Metaspace:
    """`space` becomes a space, and nothing in the first token where `drop_first` is set."""

    def __init__(self, spec: TextSpec) -> None:
        self._space, self._written = spec.space, "" if spec.drop_first else " "

    def push(self, token: str) -> str:
        text = token.replace(self._space, self._written)
        self._written = " "
        return text

    def finish(self) -> str:
        return ""
