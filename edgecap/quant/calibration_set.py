"""Typical use of a captioner, recorded once and replayed as often as somebody wants to watch.

Images are captioned greedily, in every language and in both common styles; a replay feeds the
captions back in (teacher forcing), which shows every layer what decoding shows it, in one call
instead of one per word.

Letters: N images, S model_input side, T text tokens, B of one batch, P patches, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from edgecap.core.progress import progress
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.decode import generate
from edgecap.runtime.state import State

if TYPE_CHECKING:
    from edgecap.reference.model.captioner import CaptionModel

BATCH = 8
STYLES = ("grounded", "plain")
Replayed = tuple[Tensor, Tensor]  # of a batch: logits [M,V], embeddings [B,E]


@dataclass(frozen=True)
class CalibrationSet:
    """Images and their captions."""

    model_inputs: np.ndarray  # uint8 [N,S,S,3]
    captions: list[list[int]]  # N of prompt and caption, without <eos>
    texts: list[list[int]]  # N of <text> words <eos>

    def __len__(self) -> int:
        return len(self.model_inputs)

    def first(self, number: int) -> CalibrationSet:
        """The first of its images and their captions."""
        return CalibrationSet(
            self.model_inputs[:number], self.captions[:number], self.texts[:number]
        )

    def replay(self, model: CaptionModel, label: str) -> Iterator[Replayed]:
        """Run all three functions over everything.

        Yields, per batch, logits [M,V] of the M steps that chose a token, and embeddings [B,E].
        """
        starts = range(0, len(self.model_inputs), BATCH)
        for start in progress(starts, label):
            rows = slice(start, start + BATCH)
            with torch.inference_mode():
                keys, values, states = model.forward_image(
                    torch.from_numpy(self.model_inputs[rows])
                )
                tokens, lengths = padded(self.captions[rows], model.config.text_length)
                logits = model.logits(model.forward_text(tokens, keys, values))  # [B,T,V]
                texts, text_lengths = padded(self.texts[rows], model.config.text_length)
                embedding = model.encode_text(texts, text_lengths)  # [B,E]
                images = model.embed_image(states[-1])  # [B,E]
            # The first token of the prompt chooses nothing: the second is given too.
            steps = [logits[b, 1:length] for b, length in enumerate(lengths)]
            yield torch.cat(steps), torch.cat([images, embedding])


def collect_calibration(captioner: Captioner, model_inputs: np.ndarray) -> CalibrationSet:
    """Caption model_inputs uint8 [N,S,S,3], in every language and style in turn."""
    vocabulary, tokenizer = captioner.vocabulary, captioner.tokenizer
    T, around = vocabulary.text_length, captioner.manifest.texts
    assert around is not None  # the reference embeds texts
    pairs = [(lang, style) for style in STYLES for lang in captioner.languages]
    captions: list[list[int]] = [[] for _ in model_inputs]
    for i, (lang, style) in enumerate(progress(pairs, "captioning")):
        mine = range(i, len(model_inputs), len(pairs))
        prompt = vocabulary.prompt(lang, style)
        rules = vocabulary.rules(lang, style, boxes=style == STYLES[0])
        for start in range(0, len(mine), BATCH):
            rows = mine[start : start + BATCH]
            state = State(captioner.graphs, captioner.graphs.encode(model_inputs[rows]))
            generated = generate(state, rules)
            for row, one in zip(rows, generated, strict=True):
                captions[row] = [*prompt, *one.tokens]
    framing = {i for i in tokenizer.special.values() if not tokenizer.is_byte(i)}
    stops = {tokenizer.ids[mark] for mark in ".。" if mark in tokenizer.ids}
    texts = []
    for i, caption in enumerate(captions):
        words = [token for token in caption if token not in framing]
        # Every fourth text is a statement alone: such are searched for too, and no caption is one.
        if (i + i // len(pairs)) % 4 == 1:  # of each language in some round
            words = last_sentence(words, stops)
        texts.append([*around.begin, *words[: T - 2], *around.end])
    return CalibrationSet(model_inputs, captions, texts)


def last_sentence(words: list[int], stops: Container[int]) -> list[int]:
    """What follows the last of `stops` that is not the end."""
    ends = [n + 1 for n, token in enumerate(words[:-1]) if token in stops]
    return words[ends[-1] :] if ends else words


def padded(rows: list[list[int]], T: int) -> tuple[Tensor, Tensor]:
    """Tokens int [B,T'], padded to the longest (at most T), and their numbers int [B]."""
    lengths = [min(len(row), T) for row in rows]
    tokens = torch.zeros(len(rows), max(lengths), dtype=torch.long)  # [B,T']
    for b, row in enumerate(rows):
        tokens[b, : lengths[b]] = torch.tensor(row[: lengths[b]])
    return tokens, torch.tensor(lengths)
