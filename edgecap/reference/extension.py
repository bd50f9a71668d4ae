"""What weights know beyond the eight languages and the vocabulary that they share.

A language has a token, `<nl>`, that opens its captions. Ids are reserved for Dutch, Korean and six
more; a language beyond those takes one of the six, whose token then bears its name. Characters that
the vocabulary lacks, and words, get tokens behind its last one, so no id ever moves. Weights carry
this as metadata; a bundle carries the tokenizer.json that it makes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgecap.core.errors import InputError, UnsupportedError
from edgecap.reference.tokens import ID, LANGUAGES, RESERVED_LANGUAGES

_CODE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})?")
_FREE = tuple(slot for slot in RESERVED_LANGUAGES if not _CODE.fullmatch(slot))  # x0, x1, …


@dataclass(frozen=True)
class Extension:
    """Languages in the order in which they were learned, and tokens that follow the shipped."""

    languages: tuple[str, ...] = LANGUAGES
    tokens: tuple[str, ...] = ()
    merges: tuple[tuple[str, str], ...] = ()  # after all shipped ones

    def __post_init__(self) -> None:
        for language in self.languages:
            check_code(language)
        self.slots()

    def slots(self) -> dict[str, str]:
        """Language -> the name under which the shipped vocabulary has its token: "sv" -> "x0".

        Raises UnsupportedError (language.full) where the reserved ids do not suffice.
        """
        own = {lang: lang for lang in self.languages if lang in LANGUAGES + RESERVED_LANGUAGES}
        others = [lang for lang in self.languages if lang not in own]
        if len(others) > len(_FREE):
            raise UnsupportedError(
                "language.full",
                f"there is room for {len(_FREE)} more languages and {', '.join(others)} are more.",
                "Begin with weights that know fewer languages.",
            )
        return own | dict(zip(others, _FREE, strict=False))

    def token_id(self, language: str) -> int:
        """The id of the token that opens captions in `language`."""
        return ID[f"<{self.slots()[language]}>"]

    def with_language(self, language: str) -> Extension:
        """The same and `language`; errors as of `check_code` and `slots`."""
        if language in self.languages:
            return self
        return replace(self, languages=(*self.languages, language))

    def with_tokens(
        self, tokens: tuple[str, ...], merges: tuple[tuple[str, str], ...]
    ) -> Extension:
        """The same with more tokens behind the last and more merges after the last."""
        return replace(self, tokens=self.tokens + tokens, merges=self.merges + merges)

    def tokenizer(self, shipped: bytes) -> bytes:
        """The shipped tokenizer.json, extended; its own bytes where there is nothing to add."""
        if self == Extension():
            return shipped
        spec = json.loads(shipped)
        renamed = {f"<{slot}>": f"<{name}>" for name, slot in self.slots().items()}
        vocabulary = {renamed.get(t, t): i for t, i in spec["model"]["vocab"].items()}
        for token in self.tokens:
            if token in vocabulary:
                raise InputError("weights.extension", f"the token {token!r} is not a new one.")
            vocabulary[token] = len(vocabulary)
        spec["model"]["vocab"] = vocabulary
        spec["model"]["merges"] += [list(merge) for merge in self.merges]
        for added in spec["added_tokens"]:
            added["content"] = renamed.get(added["content"], added["content"])
        return json.dumps(spec, ensure_ascii=False).encode()

    def to_json(self) -> str:
        """As the metadata of weights."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Extension:
        """The inverse; InputError (weights.extension) for anything else."""
        try:
            return _typed(cls, json.loads(text))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                "weights.extension", f"the languages of the weights cannot be read: {error}."
            ) from None


def check_code(language: str) -> str:
    """`language` itself; InputError (language.code) unless it can name a language."""
    taken = f"<{language}>" in ID and language not in LANGUAGES + RESERVED_LANGUAGES
    if not _CODE.fullmatch(language) or taken:
        raise InputError(
            "language.code",
            f"{language!r} is no code of a language.",
            "Give two or three small letters, with a variant after a hyphen if need be: sv, pt-br.",
        )
    return language


def _typed(cls: type[Extension], value: Mapping[str, Any]) -> Extension:
    if set(value) != {"languages", "tokens", "merges"}:
        raise KeyError("languages, tokens and merges are expected")
    languages, tokens = tuple(value["languages"]), tuple(value["tokens"])
    merges = tuple((left, right) for left, right in value["merges"])
    words = [*languages, *tokens, *(part for merge in merges for part in merge)]
    if not all(isinstance(word, str) and word for word in words):
        raise TypeError("every language, token and part of a merge is a text")
    "".join(words).encode()  # ValueError for half a surrogate pair, which no file could hold
    if len(set(languages)) != len(languages) or len(set(tokens)) != len(tokens):
        raise ValueError("a language or a token stands there twice")
    return cls(languages, tokens, merges)


SHIPPED = Extension()  # nothing beyond the languages that ship
