"""Prompts, limits and token grammars, from a bundle's tokenizer and manifest (schema 1).

Letters as in session.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecap.bundle.grammar import BOXES, PLAIN
from edgecap.bundle.manifest import Manifest
from edgecap.core.choices import pick
from edgecap.core.errors import BundleError, InputError
from edgecap.core.language import resolve_language
from edgecap.runtime.decode import Limits
from edgecap.runtime.grammar import TokenGrammar
from edgecap.runtime.tokenizer import Tokenizer

_PROMPT = 2  # <lang> <style>


class Vocabulary:
    """Texts and prompts as ids of one bundle. Thread-safe."""

    def __init__(self, manifest: Manifest, tokenizer: Tokenizer) -> None:
        contract, place = manifest.contract, manifest.coordinates
        if len(tokenizer) > contract.vocabulary:
            raise BundleError(
                "tokenizer.size",
                f"the tokenizer has {len(tokenizer)} tokens and the model {contract.vocabulary}.",
            )
        self.tokenizer, self._manifest = tokenizer, manifest
        self.text_length = contract.text_length
        names = manifest.tokenizer
        self._pad, self.eos, self._text = map(tokenizer.id_of, (names.pad, names.eos, names.text))
        self._languages = {n: tokenizer.id_of(f"<{n}>") for n in manifest.languages}
        self._styles = {n: tokenizer.id_of(f"<{n}>") for n in manifest.styles}
        first = tokenizer.id_of(place.first)
        if first + place.bins > len(tokenizer):
            raise BundleError("tokenizer.token", f"there are fewer than {place.bins} locations.")
        self.locations = range(first, first + place.bins)  # ids of the edges of boxes
        self._grammars = {
            start: TokenGrammar(manifest.grammar, start, contract.vocabulary, len(tokenizer))
            for start in (BOXES, PLAIN)
        }

    @property
    def longest(self) -> int:
        """The maximum number of tokens of a caption, `<eos>` included."""
        return self.text_length - _PROMPT

    def language(self, tag: str) -> str:
        """The model's language for a BCP 47 tag; InputError if it has none."""
        return resolve_language(tag, self._languages)

    def prompt(self, lang: str, style: str) -> list[int]:
        """`<lang> <style>` as ids; InputError for an unknown language or style."""
        pick("style", style, self._styles)
        return [self._languages[self.language(lang)], self._styles[style]]

    def limits(self, max_length: int | None, boxes: bool, constrained: bool) -> Limits:
        """Limits of decoding; InputError for a length out of range."""
        length = self.longest if max_length is None else max_length
        if not 1 <= length <= self.longest:
            raise InputError(
                "caption.length", f"max_length must be in 1 … {self.longest}, got {length}."
            )
        return Limits(
            self.eos, length, self._grammars[BOXES if boxes else PLAIN] if constrained else None
        )

    @property
    def box_grammar(self) -> TokenGrammar:
        """The grammar of captions with boxes."""
        return self._grammars[BOXES]

    def frame(self, texts: str | Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Texts to embed as `<text>` ids `<eos>`: int32 [B,T], padded, and lengths int32 [B].

        Raises InputError: text.type, text.empty or text.too_long.
        """
        texts = [texts] if isinstance(texts, str) else texts
        tokens = np.full((len(texts), self.text_length), self._pad, np.int32)  # [B,T]
        length = np.zeros(len(texts), np.int32)  # [B]
        for b, text in enumerate(texts):
            ids = self._checked(text)
            tokens[b, : len(ids)] = ids
            length[b] = len(ids)
        return tokens, length

    def _checked(self, text: str) -> list[int]:
        if not isinstance(text, str):
            raise InputError("text.type", f"a text must be a str, got {type(text).__name__}.")
        if not text.strip():
            raise InputError("text.empty", "an empty text cannot be embedded.")
        words = self.tokenizer.encode(text.strip())
        room = self.text_length - 2
        if len(words) > room:
            raise InputError(
                "text.too_long",
                f"the text {text.strip()[:30]!r}… has {len(words)} tokens; at most {room} fit.",
                "Shorten it.",
            )
        return [self._text, *words, self.eos]
