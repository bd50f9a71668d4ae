"""Languages and tokens that weights have beyond the eight shipped languages.

Each language has a token, such as `<nl>`, that starts its captions. Ids are reserved for Dutch,
Korean and six others; any further language takes one of the six, whose token is then renamed.
Tokens for missing characters and for words are appended to the vocabulary, so no id ever changes.
Weights store the extension as metadata; a bundle stores the resulting tokenizer.json.
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
    """Languages in the order they were learned, and tokens appended to the shipped ones."""

    languages: tuple[str, ...] = LANGUAGES
    tokens: tuple[str, ...] = ()
    merges: tuple[tuple[str, str], ...] = ()  # after all shipped ones

    def __post_init__(self) -> None:
        for language in self.languages:
            check_code(language)
        self.slots()

    def slots(self) -> dict[str, str]:
        """Language -> the name of its token in the shipped vocabulary: "sv" -> "x0".

        Raises UnsupportedError (language.full) where there are too few reserved ids.
        """
        own = {lang: lang for lang in self.languages if lang in LANGUAGES + RESERVED_LANGUAGES}
        others = [lang for lang in self.languages if lang not in own]
        if len(others) > len(_FREE):
            raise UnsupportedError(
                "language.full",
                f"{len(_FREE)} ids are reserved for further languages; {len(others)} are needed: "
                f"{', '.join(others)}.",
                "Start from weights with fewer languages.",
            )
        return own | dict(zip(others, _FREE, strict=False))

    def token_id(self, language: str) -> int:
        """The id of the token that starts captions in `language`."""
        return ID[f"<{self.slots()[language]}>"]

    def with_language(self, language: str) -> Extension:
        """A copy with `language` added; raises the errors of `check_code` and `slots`."""
        if language in self.languages:
            return self
        return replace(self, languages=(*self.languages, language))

    def with_tokens(
        self, tokens: tuple[str, ...], merges: tuple[tuple[str, str], ...]
    ) -> Extension:
        """A copy with `tokens` and `merges` appended."""
        return replace(self, tokens=self.tokens + tokens, merges=self.merges + merges)

    def tokenizer(self, shipped: bytes) -> bytes:
        """The shipped tokenizer.json, extended; unchanged where there is nothing to add."""
        if self == Extension():
            return shipped
        spec = json.loads(shipped)
        renamed = {f"<{slot}>": f"<{name}>" for name, slot in self.slots().items()}
        vocabulary = {renamed.get(t, t): i for t, i in spec["model"]["vocab"].items()}
        for token in self.tokens:
            if token in vocabulary:
                raise InputError(
                    "weights.extension", f"the token {token!r} is in the vocabulary already."
                )
            vocabulary[token] = len(vocabulary)
        spec["model"]["vocab"] = vocabulary
        spec["model"]["merges"] += [list(merge) for merge in self.merges]
        for added in spec["added_tokens"]:
            added["content"] = renamed.get(added["content"], added["content"])
        return json.dumps(spec, ensure_ascii=False).encode()

    def to_json(self) -> str:
        """JSON for the metadata of the weights."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Extension:
        """The inverse of `to_json`; InputError (weights.extension) for any other text."""
        try:
            return _typed(cls, json.loads(text))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                "weights.extension", f"the languages of the weights cannot be read: {error}."
            ) from None


def check_code(language: str) -> str:
    """Return `language`; InputError (language.code) unless it is a valid language code."""
    taken = f"<{language}>" in ID and language not in LANGUAGES + RESERVED_LANGUAGES
    if not _CODE.fullmatch(language) or taken:
        raise InputError(
            "language.code",
            f"{language!r} is not a language code.",
            "Give two or three lower-case letters, and optionally a variant: sv, pt-br.",
        )
    return language


def _typed(cls: type[Extension], value: Mapping[str, Any]) -> Extension:
    if set(value) != {"languages", "tokens", "merges"}:
        raise KeyError("languages, tokens and merges are expected")
    languages, tokens = tuple(value["languages"]), tuple(value["tokens"])
    merges = tuple((left, right) for left, right in value["merges"])
    words = [*languages, *tokens, *(part for merge in merges for part in merge)]
    if not all(isinstance(word, str) and word for word in words):
        raise TypeError("languages, tokens and parts of merges must be non-empty strings")
    "".join(words).encode()  # ValueError for a lone surrogate, which UTF-8 cannot store
    if len(set(languages)) != len(languages) or len(set(tokens)) != len(tokens):
        raise ValueError("a language or a token is listed twice")
    return cls(languages, tokens, merges)


SHIPPED = Extension()  # the shipped languages only
