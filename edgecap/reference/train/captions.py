"""Images with what is said of them, as batches; a batch depends on seed and step alone.

N images   S model_input side, px   B images a batch   T tokens of packed captions
R = B texts   Tq tokens of a text
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edgecap.bundle.manifest import standard_preprocessing
from edgecap.core.choices import pick
from edgecap.core.errors import InputError
from edgecap.core.progress import progress
from edgecap.reference.boxes import to_bins
from edgecap.reference.extension import Extension
from edgecap.reference.tokens import EOS_ID, ID, LOCATIONS, TEXT_ID
from edgecap.reference.train.batch import Batch
from edgecap.reference.train.hints import FACTS
from edgecap.reference.train.packing import Asked, pack, pad
from edgecap.reference.train.pairs.pair import Pair, bad_row
from edgecap.runtime.memory import free_bytes
from edgecap.runtime.preprocess import Letterbox, preprocess
from edgecap.runtime.tokenizer import Tokenizer

_SHARE = 0.5  # of the free memory, for model_inputs


@dataclass(frozen=True)
class CaptionSample:
    """One caption of an image, framed."""

    caption: tuple[int, ...]  # <lang> <style> words and boxes <eos>
    text: tuple[int, ...]  # <text> words <eos>

    @property
    def is_cut(self) -> bool:
        """Whether the caption is longer than the model can write."""
        return self.caption[-1] != EOS_ID


@dataclass(frozen=True)
class CaptionDataset:
    """Images and their captions."""

    model_inputs: np.ndarray  # uint8 [N,S,S,3]
    samples: tuple[tuple[CaptionSample, ...], ...]  # N of one or more

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def captions(self) -> int:
        """How many were given; one with boxes is learned without them too."""
        return sum(one.caption[1] == ID["<plain>"] for each in self.samples for one in each)

    def take(self, places: Sequence[int]) -> CaptionDataset:
        """The images at `places`."""
        return CaptionDataset(
            self.model_inputs[list(places)], tuple(self.samples[i] for i in places)
        )

    def batch(self, seed: int, step: int, images: int) -> Batch:
        """`images` drawn by lot, each with as many of its captions as fit its row."""
        rng = np.random.default_rng((seed, step))
        places = rng.choice(len(self), images, replace=len(self) < images)  # [B]
        return self.described(places.tolist(), rng)

    def described(self, places: Sequence[int], rng: np.random.Generator) -> Batch:
        """The images at `places` as a batch of the training; `rng` chooses among captions."""
        longest = max(len(one.caption) for i in places for one in self.samples[i])
        rows = [pack(_endless(self.samples[i], rng), longest - 1) for i in places]
        tokens, targets, segments, positions = map(torch.from_numpy, np.stack(rows, 1))  # [B,T]
        texts = [_drawn(self.samples[i], rng).text for i in places]  # R
        B = len(places)
        longest_text = max(map(len, texts))
        return Batch(
            images=torch.from_numpy(self.model_inputs[list(places)]),  # [B,S,S,3]
            corners=torch.zeros(B, 2, dtype=torch.int64),
            tokens=tokens,
            targets=targets,
            segments=segments,
            positions=positions,
            texts=pad([list(text) for text in texts], longest_text),  # [R,Tq]
            lengths=torch.tensor([len(text) for text in texts]),  # [R]
            matches=torch.from_numpy(_matches(places, texts)),
            # Of strangers' images nothing more is known.
            claims=torch.zeros(0, 1, dtype=torch.int64),
            claim_lengths=torch.zeros(0, dtype=torch.int64),
            text_questions=torch.full((B, 4), -1),
            questions=torch.zeros(0, 4, dtype=torch.int64),
            seen=torch.zeros(B, 0, 4),
            hints=torch.zeros(B, 0, FACTS, dtype=torch.int64),
        )


def _matches(places: Sequence[int], texts: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Bool [B,R]: which texts are true of which images, each drawn with a text of its own.

    Two images may say the same, and an image may be drawn twice.
    """
    own = np.array(places)  # [B]
    said = np.array([[text == other for other in texts] for text in texts])  # [B,R]
    return said | (own[:, None] == own)


def _drawn(samples: Sequence[CaptionSample], rng: np.random.Generator) -> CaptionSample:
    return samples[int(rng.integers(len(samples)))]


def _endless(samples: Sequence[CaptionSample], rng: np.random.Generator) -> Iterator[Asked]:
    while True:
        yield Asked(list(_drawn(samples, rng).caption))


class SampleEncoder:
    """Captions as tokens, in one language of a model."""

    def __init__(self, tokenizer: Tokenizer, extension: Extension, language: str, T: int) -> None:
        self._tokenizer, self._T = tokenizer, T
        self._language = extension.token_id(language)

    def samples(self, pair: Pair, where: Letterbox) -> tuple[CaptionSample, ...]:
        """The caption without boxes, and with them where it has some.

        What is beyond the model's longest caption is cut off: it could not be written either.
        """
        said = [self._saying(pair, pair.caption, "plain")]
        grounded = pair.grounded or with_boxes(pair, where)
        if grounded != pair.caption:
            said.append(self._saying(pair, grounded, "grounded"))
        return tuple(said)

    def _saying(self, pair: Pair, text: str, style: str) -> CaptionSample:
        # The words are a stranger's: an <eos> among them must not end what the model learns to say.
        words = self._tokenizer.encode(text, allow_special=LOCATIONS)
        bare = self._tokenizer.encode(pair.caption)
        framed = (self._language, ID[f"<{style}>"], *words, EOS_ID)
        return CaptionSample(framed[: self._T], (TEXT_ID, *bare[: self._T - 2], EOS_ID))


def with_boxes(pair: Pair, where: Letterbox) -> str:
    """The caption with the location tokens of each span's boxes behind it.

    InputError for a box that is nothing on the model_input.
    """
    text, done = "", 0
    for span in pair.spans:
        text += pair.caption[done : span.end]
        for box in span.boxes:
            x0, y0, x1, y1 = bins = to_bins(where.to_input(box))
            if x0 >= x1 or y0 >= y1:
                raise bad_row(
                    pair.where, f"has a box {list(box)} that the model_input makes nothing of"
                )
            text += "".join(LOCATIONS[bin_] for bin_ in bins)
        done = span.end
    return text + pair.caption[done:]


def open_pairs(
    pairs: Sequence[Pair], framing: SampleEncoder, size: int, on_error: str = "fail"
) -> tuple[CaptionDataset, list[InputError]]:
    """Images opened and captions framed; an image with several captions comes once.

    Returns them and, where `on_error` is "skip", the errors of the images and captions that were
    left out. Raises InputError: the first error with "fail", pairs.none where nothing is left, and
    pairs.too_many where the images would not fit in memory.
    """
    pick("on_error", on_error, ("fail", "skip"))
    by_image: dict[Path, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_image[pair.image].append(pair)
    room, need = _SHARE * free_bytes(), len(by_image) * size * size * 3
    if need > room:
        raise InputError(
            "pairs.too_many",
            f"{len(by_image)} images take {need / 1e9:.1f} GB; {room / 1e9:.1f} may be taken.",
            "Give fewer; a few hundred teach a language.",
        )
    model_inputs, samples, errors = [], [], []
    settings = standard_preprocessing(size)
    for image, own in progress(by_image.items(), "images", len(by_image)):
        try:
            model_input, where = preprocess(image, settings)
            said = tuple(one for pair in own for one in framing.samples(pair, where))
        except InputError as error:
            if on_error == "fail":
                raise
            errors.append(error)
            continue
        model_inputs.append(model_input)
        samples.append(said)
    if not model_inputs:
        raise InputError("pairs.none", f"none of the {len(by_image)} images can be used.")
    return CaptionDataset(np.stack(model_inputs), tuple(samples)), errors
