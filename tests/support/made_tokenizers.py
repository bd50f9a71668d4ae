"""Tokenizers of every family, made from vocabularies full of corner cases; nothing is fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models

from edgecap.runtime.text.families import byte_characters

_WORDS = "a an the dog don't cat's over n't 'm 's 've 're do not . , ! ? ' \" - : é 犬 🐕 ß ﬁ"
WORDS = _WORDS.split()
ODD = [
    "",
    " ",
    "  ",
    " .",
    " '",
    "' ",
    "do not",
    " do not",
    "n't",
    "\n",
    "\ufffd",
    "<0x41>",
    "▁",
    "Ġ",
]


def _numbered(tokens: list[str]) -> dict[str, int]:
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def _finish(tokenizer: Tokenizer, decoder: Any) -> Tokenizer:
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens(["<pad>", "<s>", "</s>"])
    plain = ["<loc_1>", "<loc_2>", "▁added", "Ġadded", "##added", " two words ", "ünmapped日"]
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in plain])
    return tokenizer


def _byte_level() -> Tokenizer:
    """Random runs of bytes: most are not UTF-8 alone, some are together."""
    generator = np.random.default_rng(5)
    character = {byte: c for c, byte in byte_characters().items()}
    runs = [bytes([b]) for b in range(256)]
    runs += [
        bytes(generator.integers(0, 256, generator.integers(2, 5)).tolist()) for _ in range(200)
    ]
    runs += [word.encode()[: generator.integers(1, 5)] for word in WORDS for _ in range(3)]
    runs += [f" {word}".encode() for word in WORDS]
    tokens = ["".join(character[b] for b in run) for run in runs] + ODD
    return _finish(Tokenizer(models.BPE(_numbered(tokens), [])), decoders.ByteLevel())


def _byte_fallback(strip: bool) -> Tokenizer:
    tokens = [f"<0x{byte:02X}>" for byte in range(256)] + ["<0x4g>", "<0x4>", "<0xaf>", "<0x4a>"]
    tokens += [*WORDS, *(f"▁{word}" for word in WORDS), "▁▁", "▁▁▁", "a▁b", "▁", *ODD]
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    steps += [decoders.Strip(content=" ", left=1)] if strip else []
    model = models.BPE(_numbered(tokens), [], byte_fallback=True, fuse_unk=True)
    return _finish(Tokenizer(model), decoders.Sequence(steps))


def _wordpiece(cleanup: bool) -> Tokenizer:
    tokens = ["[UNK]", *WORDS, *(f"##{word}" for word in WORDS), "##", "####", "a##b", *ODD]
    model = models.WordPiece(_numbered(tokens), unk_token="[UNK]")
    return _finish(Tokenizer(model), decoders.WordPiece(prefix="##", cleanup=cleanup))


def _metaspace(scheme: str) -> Tokenizer:
    tokens = ["<unk>", *WORDS, *(f"▁{word}" for word in WORDS), "▁", "▁▁", "a▁b", *ODD]
    model = models.Unigram([(t, -1.0) for t in dict.fromkeys(tokens)], unk_id=0)
    return _finish(Tokenizer(model), decoders.Metaspace("▁", prepend_scheme=scheme))


MADE: dict[str, tuple[Callable[[], Tokenizer], bool]] = {
    # name: (maker, clean_up_tokenization_spaces)
    "byte_level": (_byte_level, True),  # transformers ignores the flag after BPE
    "byte_fallback, Llama": (lambda: _byte_fallback(True), False),
    "byte_fallback, Gemma": (lambda: _byte_fallback(False), False),
    "wordpiece": (lambda: _wordpiece(True), False),
    "wordpiece, cleaned": (lambda: _wordpiece(False), True),
    "wordpiece, cleaned twice": (lambda: _wordpiece(True), True),
    "metaspace": (lambda: _metaspace("always"), False),
    "metaspace, never": (lambda: _metaspace("never"), True),
    "metaspace, first": (lambda: _metaspace("first"), True),
}


def save(name: str, directory: Path) -> Any:
    """Write the files of a made tokenizer as transformers does; returns transformers' own."""
    from transformers import PreTrainedTokenizerFast

    maker, clean_up = MADE[name]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=maker(),
        clean_up_tokenization_spaces=clean_up,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
    )
    tokenizer.save_pretrained(directory)
    return tokenizer
