"""Images with captions, as batches; a batch depends only on seed and step.

N images   S model input side, px   B images per batch   T tokens of packed captions
R = B texts   Tq tokens of a text
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edgecap.apps.pairs.pair import LOCATION, Pair, bad_row
from edgecap.bundle.image_spec import letterboxed
from edgecap.core.choices import pick
from edgecap.core.errors import InputError
from edgecap.core.progress import progress
from edgecap.reference.boxes import to_bins
from edgecap.reference.extension import Extension
from edgecap.reference.tokens import EOS_ID, ID, LOCATIONS, TEXT_ID
from edgecap.reference.train.batch import Batch
from edgecap.reference.train.hints import FACTS
from edgecap.reference.train.packing import CaptionTokens, pack, pad
from edgecap.runtime.memory import free_bytes
from edgecap.runtime.preprocess import Letterbox, preprocess
from edgecap.runtime.tokenizer import Tokenizer

_SHARE = 0.5  # of the free memory, for model inputs


@dataclass(frozen=True)
class CaptionSample:
    """One caption of an image, as tokens with prompt and end."""

    caption: tuple[int, ...]  # <lang> <style> words and boxes <eos>
    text: tuple[int, ...]  # <text> words <eos>

    @property
    def is_cut(self) -> bool:
        """Whether the caption was truncated to the model's text length."""
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
        """Number of captions in the data; one with boxes is also trained without them."""
        return sum(one.caption[1] == ID["<plain>"] for each in self.samples for one in each)

    def take(self, places: Sequence[int]) -> CaptionDataset:
        """The subset of images at indices `places`."""
        return CaptionDataset(
            self.model_inputs[list(places)], tuple(self.samples[i] for i in places)
        )

    def batch(self, seed: int, step: int, images: int) -> Batch:
        """`images` random images, each with as many of its captions as fit its row."""
        rng = np.random.default_rng((seed, step))
        places = rng.choice(len(self), images, replace=len(self) < images)  # [B]
        return self.batch_of(places.tolist(), rng)

    def batch_of(self, places: Sequence[int], rng: np.random.Generator) -> Batch:
        """The images at indices `places` as a training batch; `rng` chooses among captions."""
        longest = max(len(one.caption) for i in places for one in self.samples[i])
        rows = [pack(_random_captions(self.samples[i], rng), longest - 1) for i in places]
        tokens, targets, segments, positions = map(torch.from_numpy, np.stack(rows, 1))  # [B,T]
        texts = [_random_sample(self.samples[i], rng).text for i in places]  # R
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
            # Scene annotations are not available for user images.
            claims=torch.zeros(0, 1, dtype=torch.int64),
            claim_lengths=torch.zeros(0, dtype=torch.int64),
            text_questions=torch.full((B, 4), -1),
            questions=torch.zeros(0, 4, dtype=torch.int64),
            thing_positions=torch.zeros(B, 0, 4),
            hints=torch.zeros(B, 0, FACTS, dtype=torch.int64),
        )


def _matches(places: Sequence[int], texts: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Bool [B,R]: which texts are true of which images; text i belongs to image i.

    Two images may have the same text, and an image may be drawn twice.
    """
    own = np.array(places)  # [B]
    same_text = np.array([[text == other for other in texts] for text in texts])  # [B,R]
    return same_text | (own[:, None] == own)


def _random_sample(samples: Sequence[CaptionSample], rng: np.random.Generator) -> CaptionSample:
    return samples[int(rng.integers(len(samples)))]


def _random_captions(
    samples: Sequence[CaptionSample], rng: np.random.Generator
) -> Iterator[CaptionTokens]:
    while True:
        yield CaptionTokens(list(_random_sample(samples, rng).caption))


class SampleEncoder:
    """Encodes captions as tokens, in one language of a model."""

    def __init__(self, tokenizer: Tokenizer, extension: Extension, language: str, T: int) -> None:
        self._tokenizer, self._T = tokenizer, T
        self._language = extension.token_id(language)

    def encode(self, pair: Pair, where: Letterbox) -> tuple[CaptionSample, ...]:
        """The caption without boxes, and also with them where it has some.

        Captions are truncated to the model's text length.
        """
        samples = [self._sample(pair, pair.caption, "plain")]
        grounded = pair.grounded or with_boxes(pair, where)
        if grounded != pair.caption:
            samples.append(self._sample(pair, grounded, "grounded"))
        return tuple(samples)

    def _sample(self, pair: Pair, text: str, style: str) -> CaptionSample:
        # Untrusted text: an <eos> in it must not end the caption.
        words = self._tokenizer.encode(text, allow_special=LOCATIONS)
        bare = self._tokenizer.encode(pair.caption)
        framed = (self._language, ID[f"<{style}>"], *words, EOS_ID)
        return CaptionSample(framed[: self._T], (TEXT_ID, *bare[: self._T - 2], EOS_ID))


def with_boxes(pair: Pair, where: Letterbox) -> str:
    """The caption with location tokens for each span's boxes after the span.

    InputError for a box that has no area on the model input.
    """
    text, done = "", 0
    for span in pair.spans:
        text += pair.caption[done : span.end]
        for box in span.boxes:
            x0, y0, x1, y1 = bins = to_bins(where.to_input(box))
            if x0 >= x1 or y0 >= y1:
                raise bad_row(
                    pair.where, f"has a box {list(box)} that has no area on the model input"
                )
            text += "".join(LOCATIONS[bin_] for bin_ in bins)
        done = span.end
    return text + pair.caption[done:]


def check_locations(pairs: Iterable[Pair]) -> None:
    """InputError, code pairs.row, at the first location token that the vocabulary lacks."""
    for pair in pairs:
        unknown = {found[0] for found in LOCATION.finditer(pair.grounded)} - set(LOCATIONS)
        if unknown:
            known = f"{LOCATIONS[0]} … {LOCATIONS[-1]}"
            raise bad_row(pair.where, f"has {min(unknown)}; known are {known}")


def open_pairs(
    pairs: Sequence[Pair], encoder: SampleEncoder, size: int, on_error: str = "fail"
) -> tuple[CaptionDataset, list[InputError]]:
    """Read images and encode captions; an image with several captions is read once.

    Returns them and, where `on_error` is "skip", the errors of the images and captions that were
    skipped. Raises InputError: the first error with "fail", pairs.none where nothing is left, and
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
            f"{len(by_image)} images take {need / 1e9:.1f} GB; {room / 1e9:.1f} GB are available.",
            "Give fewer images; a few hundred are enough for a language.",
        )
    model_inputs, samples, errors = [], [], []
    spec = letterboxed(size)
    for image, own in progress(by_image.items(), "images", len(by_image)):
        try:
            model_input, where = preprocess(image, spec)
            encoded = tuple(one for pair in own for one in encoder.encode(pair, where))
        except InputError as error:
            if on_error == "fail":
                raise
            errors.append(error)
            continue
        model_inputs.append(model_input)
        samples.append(encoded)
    if not model_inputs:
        raise InputError("pairs.none", f"none of the {len(by_image)} images can be used.")
    return CaptionDataset(np.stack(model_inputs), tuple(samples)), errors
