"""Prompts by language and style, their rules, and framed texts, from a bundle's manifest.

Letters: T text rows of the state, N tokens of a text to embed, n texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.bundle.grammar import BOXES, PLAIN
from edgecap.bundle.manifest import Manifest, TextFrame, prompt_name
from edgecap.core.choices import pick
from edgecap.core.errors import BundleError, InputError
from edgecap.core.language import resolve_language
from edgecap.runtime.grammar import TokenGrammar
from edgecap.runtime.rules import Rules
from edgecap.runtime.tokenizer import Tokenizer


class Vocabulary:
    """Prompts as ids of one bundle with languages. Thread-safe."""

    def __init__(self, manifest: Manifest, known: int) -> None:
        """`known`: number of ids that are tokens; the model may have more, which are not used."""
        self._manifest = manifest
        spec = next(iter(manifest.prompts.values()))
        self.text_length = manifest.interface.dims["T"]
        self.longest = spec.max_new_tokens  # tokens of a caption, the end token included
        self.eos = spec.eos[0]
        place = manifest.regions
        self.locations = place.places if place else range(0)
        V = manifest.interface.dims["V"]
        if known > V:
            raise BundleError(
                "tokenizer.size", f"the tokenizer has {known} tokens and the model {V}."
            )
        self._grammars = {
            start: TokenGrammar(manifest.grammar, start, V, known)
            for start in (BOXES, PLAIN)
            if manifest.grammar is not None
        }

    def language(self, tag: str) -> str:
        """The model's language for a BCP 47 tag; InputError if it has none."""
        return resolve_language(tag, self._manifest.languages)

    def prompt(self, lang: str, style: str) -> list[int]:
        """The prompt as ids; InputError for an unknown language or style."""
        return list(self._spec(lang, style).begin)

    def rules(
        self,
        lang: str,
        style: str,
        max_length: int | None = None,
        boxes: bool = True,
        constrained: bool = True,
        beams: int = 1,
    ) -> Rules:
        """The rules of a request; InputError for a language, style or length out of range."""
        spec = self._spec(lang, style)
        length = self.longest if max_length is None else max_length
        if not 1 <= length <= self.longest:
            raise InputError(
                "caption.length", f"max_length must be in 1 … {self.longest}, got {length}."
            )
        spec = replace(spec, max_new_tokens=length, beams=beams)
        grammar = self._grammars.get(BOXES if boxes else PLAIN) if constrained else None
        return Rules(spec, grammar)

    @property
    def box_grammar(self) -> TokenGrammar:
        """The grammar of captions with boxes."""
        return self._grammars[BOXES]

    def _spec(self, lang: str, style: str) -> GenerationSpec:
        pick("style", style, self._manifest.styles)
        return self._manifest.prompts[prompt_name(self.language(lang), style)]


def frame(
    tokenizer: Tokenizer, around: TextFrame, N: int, texts: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Texts to embed as framed ids: int32 [n,N], padded, and lengths int32 [n].

    Raises InputError: text.type, text.empty or text.too_long.
    """
    tokens = np.full((len(texts), N), around.pad, np.int32)  # [n,N]
    length = np.zeros(len(texts), np.int32)  # [n]
    for row, text in enumerate(texts):
        ids = [*around.begin, *_checked(tokenizer, around, N, text), *around.end]
        tokens[row, : len(ids)] = ids
        length[row] = len(ids)
    return tokens, length


def _checked(tokenizer: Tokenizer, around: TextFrame, N: int, text: str) -> list[int]:
    if not isinstance(text, str):
        raise InputError("text.type", f"a text must be a str, got {type(text).__name__}.")
    if not text.strip():
        raise InputError("text.empty", "an empty text cannot be embedded.")
    words = tokenizer.encode(text.strip())
    room = N - len(around.begin) - len(around.end)
    if len(words) > room:
        raise InputError(
            "text.too_long",
            f"the text {text.strip()[:30]!r}… has {len(words)} tokens; at most {room} fit.",
            "Shorten it.",
        )
    return words
