"""tokenizer.json of a schema 2 bundle: the data that a host needs to turn ids into text.

Four families cover the tokenizers of captioners; each is a short rule over the token strings, so a
host needs no tokenizer library and runs no pattern from a file:

- byte_fallback (Llama, Gemma, this package's own): `space` stands for a space, <0xNN> for a byte.
- byte_level (GPT-2, BART, Qwen2): every character of a token stands for one byte.
- wordpiece (BERT): a token without `prefix` begins a new word.
- metaspace (T5, XLM-RoBERTa): `space` stands for a space; that of the first token may be dropped.

edgecap.runtime.text implements it. Letter: V vocabulary, special and added tokens included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgecap.core.errors import BundleError
from edgecap.core.typed import decode

FAMILIES = ("byte_fallback", "byte_level", "wordpiece", "metaspace")
MAX_BYTES = 64 << 20  # of the file
MAX_TOKENS = 1 << 20
MAX_TOKEN_CHARS = 4096


@dataclass(frozen=True)
class TextSpec:
    """How ids become text. Fields that a family does not use keep their defaults."""

    family: str  # one of FAMILIES
    tokens: tuple[str | None, ...]  # [V], by id; null for an id without a token
    special: tuple[int, ...]  # ascending ids that are not part of the text: pad, begin, end …
    space: str = "▁"  # byte_fallback, metaspace: stands for a space
    strip: int = 0  # byte_fallback: maximum number of leading spaces to remove
    drop_first: bool = True  # metaspace: remove the first token's `space`
    prefix: str = "##"  # wordpiece: continues a word
    clean_tokens: bool = False  # wordpiece: the decoder's clean-up, token by token
    clean_up: bool = False  # transformers' clean_up_tokenization_spaces, over the whole text


def text_spec_from_json(value: Any, where: str = "tokenizer.json") -> TextSpec:
    """A checked TextSpec from plain JSON values; raises BundleError (tokenizer.* or bundle.*)."""
    if not isinstance(value, dict) or not isinstance(value.get("tokens"), list):
        raise _bad(f"{where} has no list of tokens")
    tokens = value["tokens"]
    # Checked here because field-by-field decoding is slow for 250,000 tokens.
    if not all(token is None or isinstance(token, str) for token in tokens):
        raise _bad(f"{where}: tokens must be strings or null")
    spec = decode(TextSpec, {**value, "tokens": []}, where)
    spec = replace(spec, tokens=tuple(tokens))
    check_text_spec(spec, where)
    return spec


def text_spec_to_json(spec: TextSpec) -> dict[str, Any]:
    """The plain JSON values of a spec: the fields that its family uses."""
    value: dict[str, Any] = {"family": spec.family}
    used = {
        "byte_fallback": ("space", "strip"),
        "byte_level": (),
        "wordpiece": ("prefix", "clean_tokens"),
        "metaspace": ("space", "drop_first"),
    }[spec.family]
    value |= {name: getattr(spec, name) for name in used}
    value["clean_up"] = spec.clean_up
    return value | {"special": list(spec.special), "tokens": list(spec.tokens)}


def check_text_spec(spec: TextSpec, where: str = "tokenizer.json") -> None:
    """Raise BundleError (tokenizer.unsupported) for an invalid spec."""
    if spec.family not in FAMILIES:
        raise _bad(f"{where}: family is {spec.family!r}; allowed: {', '.join(FAMILIES)}")
    if not 1 <= len(spec.tokens) <= MAX_TOKENS:
        raise _bad(f"{where} has {len(spec.tokens)} tokens; allowed: 1-{MAX_TOKENS}")
    texts = [token for token in spec.tokens if token is not None]
    if max(map(len, texts), default=0) > MAX_TOKEN_CHARS:
        raise _bad(f"{where} has a token of more than {MAX_TOKEN_CHARS} characters")
    _check_utf8([*texts, spec.space, spec.prefix], where)
    ids = spec.special
    if list(ids) != sorted(set(ids)) or (ids and not 0 <= ids[0] <= ids[-1] < len(spec.tokens)):
        raise _bad(f"{where}: special must be ascending ids below {len(spec.tokens)}")
    if len(spec.space) != 1 or len(spec.prefix) > 16 or not 0 <= spec.strip <= 16:
        raise _bad(f"{where}: space must be one character, prefix and strip at most 16")


def _check_utf8(texts: Sequence[str], where: str) -> None:
    try:
        "".join(texts).encode("utf-8")
    except UnicodeEncodeError:  # JSON allows half a surrogate pair, UTF-8 does not
        raise _bad(f"{where} has a token with a lone surrogate") from None


def _bad(message: str) -> BundleError:
    return BundleError("tokenizer.unsupported", f"{message}.", "Export the bundle again.")
