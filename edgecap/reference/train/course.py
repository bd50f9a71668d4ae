"""A course in a language: data in, fine-tuning with rehearsal, what was learned and what forgotten.

Everything but the arguments' parsing of `edgecap finetune`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgecap.core.errors import InputError
from edgecap.reference.extension import Extension, check_code
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.model.session import TorchSession, reference_captioner
from edgecap.reference.shipped import tokenizer_data
from edgecap.reference.train import extend_vocabulary, forgetting, lora, rehearsal
from edgecap.reference.train.captions import CaptionDataset, SampleEncoder, open_pairs
from edgecap.reference.train.finetune import FinetuneConfig, Row, caption_loss, finetune
from edgecap.reference.train.forgetting import Forgetting, measurable
from edgecap.reference.train.pairs import read_pairs
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.tokenizer import Tokenizer

_HELD_OUT = 10  # of so many images one is kept for the loss before and after
_MOST_HELD_OUT = 64
_REHEARSED = {"scenes": "drawn scenes", "own": "the starting weights' own captions"}
Say = Callable[[str], None]


@dataclass(frozen=True)
class FinetuneSpec:
    """What to learn, from what, and how it is checked."""

    lang: str
    data: Path
    images: Path | None = None  # where the names of images begin; None: beside the data
    rehearse: str = "auto"  # one of rehearsal.KINDS
    on_error: str = "fail"  # at an image that cannot be read: fail, or skip
    # Test scenes by which forgetting is measured; 0: it is not. One that is seen wrongly fails in
    # every language, and may not be a point by itself.
    check: int = 128
    config: FinetuneConfig = field(default_factory=FinetuneConfig)


@dataclass(frozen=True)
class FinetuneData:
    """What a course learns from, read and checked."""

    extension: Extension  # after the course
    said: CaptionDataset
    skipped: list[InputError]


@dataclass(frozen=True)
class Report:
    """What a course did."""

    lang: str
    known: bool  # before
    images: int
    captions: int
    cut: int  # of them as they are learned, with or without boxes, that are too long to be written
    skipped: list[str]
    new_tokens: int
    rehearsal: str
    loss: tuple[float, float] | None  # nats a token of held-out images, before and after
    exact: tuple[float, float] | None  # of test scenes in the language, where they can be read
    forgetting: Forgetting | None
    log: list[Row]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "forgetting": self.forgetting and self.forgetting.to_json()}


def read(spec: FinetuneSpec, model: CaptionModel, extension: Extension) -> FinetuneData:
    """The data of a course, and the vocabulary that it needs; InputError for what is wrong.

    Codes: language.*, pairs.*, image.*, finetune.no_words.
    """
    check_code(spec.lang)
    spec.config.check()
    forgetting.check_number(spec.check)
    if spec.config.lora:
        lora.check_rank(model, spec.config.lora)
    extension.with_language(spec.lang)  # refused where there is no room
    rehearsal.chosen(spec.rehearse, extension.languages)
    pairs = read_pairs(spec.data, spec.lang, spec.images)
    captions = [pair.caption for pair in pairs]
    if not any(character.isalpha() for caption in captions for character in caption):
        raise InputError(
            "finetune.no_words", f"the captions of {spec.data} in {spec.lang!r} have no words."
        )
    after = extend_vocabulary.extend(extension, spec.lang, captions)
    tokenizer = Tokenizer(tokenizer_data(after))
    framing = SampleEncoder(tokenizer, after, spec.lang, model.config.text_length)
    said, skipped = open_pairs(pairs, framing, model.config.image_size, spec.on_error)
    return FinetuneData(after, said, skipped)


def teach(
    model: CaptionModel, extension: Extension, material: FinetuneData, spec: FinetuneSpec, say: Say
) -> tuple[CaptionModel, Report]:
    """Fine-tune a copy of `model` on material that `read` gave."""
    config, said, after = spec.config, material.said, material.extension
    kind, why = rehearsal.chosen(spec.rehearse, extension.languages)
    say(f"{len(said)} images; rehearsing from {_REHEARSED[kind]} ({why})")
    before = captioner_of(model, extension)
    student = extend_vocabulary.resize_embeddings(model, extension, after)
    known = measurable([lang for lang in extension.languages if lang != spec.lang])
    own = measurable((spec.lang,))
    old = _exact(before, known, spec.check)
    mine, held_out = _split(said, config.seed)
    loss = caption_loss(student, held_out) if len(held_out) else None
    own_before = _exact(captioner_of(student, after), own, spec.check)
    rehearsed = _rehearsal(kind, before, extension, after, mine.model_inputs, config)
    rows = extend_vocabulary.new_rows(extension, after)
    log = finetune(student, mine, rehearsed, config, rows)
    student.eval()
    now = captioner_of(student, after)
    new = _exact(now, known, spec.check)
    own_after = _exact(now, own, spec.check)
    return student, Report(
        lang=spec.lang,
        known=spec.lang in extension.languages,
        images=len(said),
        captions=said.captions,
        cut=sum(one.is_cut for samples in said.samples for one in samples),
        skipped=[str(error) for error in material.skipped],
        new_tokens=len(after.tokens) - len(extension.tokens),
        rehearsal=kind,
        loss=None if loss is None else (loss, caption_loss(student, held_out)),
        exact=(float(own_before.mean()), float(own_after.mean())) if own_after.size else None,
        forgetting=Forgetting(known, old, new) if new.size else None,
        log=log,
    )


def captioner_of(model: CaptionModel, extension: Extension) -> Captioner:
    """A network behind the runtime's interface, with as many threads as torch has."""
    return reference_captioner(TorchSession(model, torch.get_num_threads()), extension)


def _rehearsal(
    kind: str,
    before: Captioner,
    extension: Extension,
    after: Extension,
    model_inputs: np.ndarray,
    config: FinetuneConfig,
) -> rehearsal.Rehearsal:
    if kind == "own":
        tokenizer = Tokenizer(tokenizer_data(after))
        return rehearsal.of_own_captions(
            before, tokenizer, model_inputs, config.rehearsed, config.seed
        )
    return rehearsal.of_scenes(
        extension.languages, after, config.rehearsed, config.seed, config.steps
    )


def _split(said: CaptionDataset, seed: int) -> tuple[CaptionDataset, CaptionDataset]:
    """Images to learn from, and images that only tell how well; none of few."""
    order = np.random.default_rng(seed).permutation(len(said)).tolist()
    out = min(len(said) // _HELD_OUT, _MOST_HELD_OUT)
    return said.take(order[out:]), said.take(order[:out])


def _exact(captioner: Captioner, languages: Sequence[str], n: int) -> np.ndarray:
    """Bool [K,N]; empty where nothing is asked for."""
    if n == 0 or not languages:
        return np.zeros((0, 0), bool)
    return forgetting.exact(captioner, languages, n)
