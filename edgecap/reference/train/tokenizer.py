"""Train the multilingual byte-fallback BPE (SentencePiece style) on the words of all grammars.

It is trained on words, not sentences, so no token joins a noun to its colour: a language without
spaces would otherwise get a token "红色的圆形", a prior that hurts unseen pairs. Ids: the fixed
specials of `reference.tokens`, 256 bytes, then characters and merges.

`python -m edgecap.reference.train.tokenizer` writes the one that is shipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgecap.reference.tokens import LANGUAGES, SPECIALS
from edgecap.runtime.tokenizer import PIECE

SHIPPED = Path(__file__).resolve().parents[1] / "data" / "tokenizer.json"
# Characters that users write but captions lack; without a token they would cost two bytes each.
ACCENTED = "ÀÁÂÃÄÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜßàáâãäçèéêëìíîïñòóôõöùúûü"
ALPHABET = "".join(map(chr, range(0x21, 0x7F))) + ACCENTED


def caption_words() -> Iterator[str]:
    """Every segment that a caption in any language can contain, "▁" for the space before it."""
    from edgecap.reference.scenes.words import words

    for language in LANGUAGES:
        yield from words(language)


def train_tokenizer(words: Iterable[str], vocabulary: int = 4096) -> str:
    """The `tokenizer.json` of at most `vocabulary` tokens, trained on words with "▁"."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
    from tokenizers import pre_tokenizers as pre
    from tokenizers.trainers import BpeTrainer

    split = pre.Split(Regex(PIECE), behavior="isolated")
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = split
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    fixed = [*SPECIALS, *byte_tokens]
    learner.train_from_iterator(
        words,
        BpeTrainer(
            vocab_size=vocabulary - len(fixed),
            min_frequency=1,
            initial_alphabet=list(ALPHABET),
            show_progress=False,
        ),
    )
    learnt = json.loads(learner.to_str())["model"]
    by_id = sorted(learnt["vocab"], key=learnt["vocab"].get)
    vocab = {token: i for i, token in enumerate([*fixed, *by_id])}
    merges = [tuple(merge) for merge in learnt["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in SPECIALS])
    return str(tokenizer.to_str(pretty=False))


def write_shipped() -> None:
    """Train on the words of all languages, and replace the shipped tokenizer."""
    SHIPPED.write_text(train_tokenizer(caption_words()), encoding="utf-8")


if __name__ == "__main__":
    write_shipped()
