"""tokenizer.json and what belongs to it -> TextSpec: how ids become text.

Of tokenizer.json only the vocabulary and the decoder matter here: normaliser, pre-tokenizer and
post-processor act when text becomes ids. Of tokenizer_config.json only the special tokens and
clean_up_tokenization_spaces do (TokenizersBackend._decode of transformers 5.23 reads nothing else);
its other keys are settings of encoding, names and paths.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from edgecap.bundle.text_spec import MAX_TOKENS, TextSpec, check_text_spec
from edgecap.core.errors import BundleError, InputError, one_line
from edgecap.core.lazy import require
from edgecap.models.translate.checkpoint import Checkpoint, refuse, typed

# Lists of special tokens in tokenizer_config.json, besides the keys that end in _token.
_LISTS = (
    "additional_special_tokens",
    "extra_special_tokens",
    "model_specific_special_tokens",
)


def text_spec(checkpoint: Checkpoint) -> TextSpec:
    """How the checkpoint's ids become text.

    Raises UnsupportedError (checkpoint.unsupported) for a decoder that no family covers, InputError
    (checkpoint.file, checkpoint.setting) for files that are missing or make no sense.
    """
    config, file = checkpoint.tokenizer_config, checkpoint.tokenizer
    model = typed(file.get("model"), dict, "tokenizer.json: model")
    if model.get("end_of_word_suffix"):  # transformers' CLIPTokenizer patches what is decoded
        raise refuse("text by a tokenizer with end_of_word_suffix", "CLIP reads and never writes")
    tokens = _vocabulary(model)
    added = _added(file, config)
    special = _add_tokens(tokens, added, config)
    tokens |= _normalised(added, file.get("normalizer"))
    spec = TextSpec(
        tokens=_table(tokens),
        special=tuple(sorted(i for i, token in tokens.items() if token in special)),
        clean_up=_clean_up(config, model),
        **_decoder(file.get("decoder")),
    )
    try:
        check_text_spec(spec)
    except BundleError as error:
        raise InputError("checkpoint.setting", error.message) from None
    return spec


def prompt_ids(checkpoint: Checkpoint, text: str, *, framing: bool = True) -> list[int]:
    """Ids of a fixed prompt, through the tokenizers library, when a bundle is made.

    `framing` adds the begin and end tokens of the tokenizer's own template.
    """
    tokenizers = require("tokenizers", "prompts")
    tokenizer = tokenizers.Tokenizer.from_str(checkpoint.tokenizer_file.decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return list(tokenizer.encode(text, add_special_tokens=framing).ids)


def _vocabulary(model: Mapping[str, Any]) -> dict[int, str]:
    """Id to token of the model itself, without added tokens."""
    kind, vocabulary = _kind(model), model.get("vocab")
    if kind == "Unigram":
        rows = typed(vocabulary, list, "tokenizer.json: vocab")
        pairs = [[*typed(row, list, "a row of vocab"), None] for row in rows]  # token, score
        return {i: typed(pair[0], str, f"token {i}") for i, pair in enumerate(pairs)}
    if kind in ("BPE", "WordPiece", "WordLevel"):
        table = typed(vocabulary, dict, "tokenizer.json: vocab")
        return {typed(i, int, f"the id of {token!r}"): token for token, i in table.items()}
    raise refuse(f"a tokenizer of type {kind!r}", "known are BPE, WordPiece, Unigram, WordLevel")


def _kind(model: Mapping[str, Any]) -> Any:
    """The type of a model, which files of before tokenizers 0.10 do not have."""
    if "type" in model:
        return model["type"]
    if "merges" in model:
        return "BPE"
    if "max_input_chars_per_word" in model:
        return "WordPiece"
    return "Unigram" if isinstance(model.get("vocab"), list) else "WordLevel"


def _added(file: Mapping[str, Any], config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The added tokens of both files: tokenizer.json's, then those of tokenizer_config.json."""
    listed = typed(file.get("added_tokens", []), list, "tokenizer.json: added_tokens")
    entries = [typed(entry, dict, "an added token") for entry in listed]
    in_config = typed(config.get("added_tokens_decoder", {}), dict, "added_tokens_decoder")
    for id_, entry in in_config.items():
        if not id_.isdecimal():
            raise InputError("checkpoint.setting", f"added_tokens_decoder has the id {id_!r:.20}.")
        entries.append({"id": int(id_), **typed(entry, dict, "added_tokens_decoder")})
    for entry in entries:
        typed(entry.get("id"), int, "the id of an added token")
        typed(entry.get("content"), str, "the content of an added token")
    return entries


def _add_tokens(
    tokens: dict[int, str], added: Sequence[Mapping[str, Any]], config: Mapping[str, Any]
) -> set[str]:
    """Put added tokens into the vocabulary; returns the texts of all special ones.

    As transformers does when it loads: a token is special if either file marks it or a key such as
    eos_token names it; one of a list of special tokens, unless it was added as a plain one.
    """
    named, listed = _named(config)
    ids = {token: id_ for id_, token in tokens.items()}
    special = set(named)
    for entry in added:
        id_, content = entry["id"], entry["content"]
        if tokens.setdefault(id_, content) != content or ids.setdefault(content, id_) != id_:
            raise InputError(
                "checkpoint.setting",
                f"the files of the tokenizer disagree about the token {content!r}, id {id_}.",
            )
        if entry.get("special"):
            special.add(content)
    special |= listed - {entry["content"] for entry in added}
    unknown = sorted(special - ids.keys())
    if unknown:
        raise refuse(
            f"the special token {unknown[0]!r}, which tokenizer.json lacks,",
            "save the tokenizer anew with AutoTokenizer.from_pretrained, save_pretrained",
        )
    return special


def _normalised(added: Sequence[Mapping[str, Any]], normaliser: Any) -> dict[int, str]:
    """Added tokens as the tokenizers library spells them: those marked `normalized` go through the
    normaliser of the file, which is run by the library itself.
    """
    marked = {entry["id"]: entry["content"] for entry in added if entry.get("normalized")}
    if not marked or normaliser is None:
        return {}
    tokenizers = require("tokenizers", "prompts")
    empty = {"version": "1.0", "added_tokens": [], "normalizer": normaliser}
    empty["model"] = {"type": "BPE", "vocab": {}, "merges": []}
    try:
        run = tokenizers.Tokenizer.from_str(json.dumps(empty)).normalizer.normalize_str
        return {id_: run(content) for id_, content in marked.items()}
    except Exception as error:  # the library raises plain Exception
        raise InputError("checkpoint.setting", f"tokenizer.json: {one_line(error)}") from None


def _named(config: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Special tokens of tokenizer_config.json: those that keys name, those that lists hold."""
    named = [v for key, v in config.items() if key.endswith("_token")]
    listed: list[Any] = []
    for name in _LISTS:
        several = config.get(name) or []
        if isinstance(several, dict):  # of the model's own: {"image_token": "<image>"}
            named += several.values()
        else:
            listed += typed(several, list, name)
    return _texts(named), _texts(listed)


def _texts(values: Sequence[Any]) -> set[str]:
    """The texts among settings; a flag such as add_bos_token, or null, is none."""
    found = (value.get("content") if isinstance(value, dict) else value for value in values)
    return {text for text in found if isinstance(text, str)}


def _table(tokens: Mapping[int, str]) -> tuple[str | None, ...]:
    """Tokens by id, None where there is none."""
    if not tokens or min(tokens) < 0 or max(tokens) >= MAX_TOKENS:
        raise InputError(
            "checkpoint.setting", f"the ids of tokenizer.json are not within 0 … {MAX_TOKENS - 1}."
        )
    return tuple(tokens.get(i) for i in range(max(tokens) + 1))


def _clean_up(config: Mapping[str, Any], model: Mapping[str, Any]) -> bool:
    """Whether transformers cleans spaces up: never after BPE, whatever the file sets."""
    if config.get("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"):
        raise refuse("clean-up after BPE", "transformers itself warns that it corrupts text")
    return bool(config.get("clean_up_tokenization_spaces")) and _kind(model) != "BPE"


def _decoder(decoder: Any) -> dict[str, Any]:
    """The fields of TextSpec that describe the decoder of tokenizer.json."""
    if decoder is None:
        raise refuse("a tokenizer without a decoder", "its tokens cannot be joined to text")
    whole = typed(decoder, dict, "decoder")
    inner = whole.get("decoders") if whole.get("type") == "Sequence" else [whole]
    steps = [typed(step, dict, "a decoder") for step in typed(inner, list, "decoder.decoders")]
    kinds = [step.get("type") for step in steps]
    if kinds == ["ByteLevel"]:
        return {"family": "byte_level"}
    if kinds == ["WordPiece"]:
        prefix, clean = _field(steps[0], "prefix", str), _field(steps[0], "cleanup", bool)
        return {"family": "wordpiece", "prefix": prefix, "clean_tokens": clean}
    if kinds == ["Metaspace"]:
        drop = _drops_first(steps[0])
        space = _field(steps[0], "replacement", str)
        return {"family": "metaspace", "space": space, "drop_first": drop}
    if kinds[:3] == ["Replace", "ByteFallback", "Fuse"] and kinds[3:] in ([], ["Strip"]):
        return {"family": "byte_fallback", **_byte_fallback(steps)}
    raise refuse(
        f"the decoder {' + '.join(map(str, kinds))}",
        "known are ByteLevel; WordPiece; Metaspace; Replace + ByteFallback + Fuse (+ Strip)",
    )


def _drops_first(step: Mapping[str, Any]) -> bool:
    """Whether a Metaspace decoder drops the space of the first token."""
    if "prepend_scheme" not in step:  # before tokenizers 0.14 it was a flag
        flag: bool = _field(step, "add_prefix_space", bool)
        return flag
    return bool(_field(step, "prepend_scheme", str) != "never")


def _byte_fallback(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    space = _field(steps[0], "pattern", dict).get("String")
    if _field(steps[0], "content", str) != " " or not isinstance(space, str) or len(space) != 1:
        raise refuse("a decoder that replaces by a pattern", "only one character by a space is")
    if len(steps) == 3:
        return {"space": space}
    if _field(steps[3], "content", str) != " " or _field(steps[3], "stop", int):
        raise refuse("a decoder that strips the end of texts", "only spaces at the beginning are")
    return {"space": space, "strip": _field(steps[3], "start", int)}


def _field(step: Mapping[str, Any], name: str, kind: type) -> Any:
    return typed(step.get(name), kind, f"tokenizer.json: decoder.{name}")
