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
from edgecap.reference.model.captioner import Captioner
from edgecap.reference.model.session import TorchSession, reference_captioner
from edgecap.reference.shipped import tokenizer_data
from edgecap.reference.train import forgetting, lexis, lora, rehearsal
from edgecap.reference.train.finetune import FinetuneConfig, Row, caption_loss, finetune
from edgecap.reference.train.forgetting import Forgetting, measurable
from edgecap.reference.train.pairs import read_pairs
from edgecap.reference.train.said import Framing, Said, open_pairs
from edgecap.runtime.captioner import Captioner as Runtime
from edgecap.runtime.tokenizer import Tokenizer

_HELD_OUT = 10  # of so many pictures one is kept for the loss before and after
_MOST_HELD_OUT = 64
_REHEARSED = {"scenes": "drawn scenes", "own": "the starting weights' own captions"}
Say = Callable[[str], None]


@dataclass(frozen=True)
class CourseSpec:
    """What to learn, from what, and how it is checked."""

    lang: str
    data: Path
    images: Path | None = None  # where the names of pictures begin; None: beside the data
    rehearse: str = "auto"  # one of rehearsal.KINDS
    on_error: str = "fail"  # at a picture that cannot be read: fail, or skip
    # Test scenes by which forgetting is measured; 0: it is not. One that is seen wrongly fails in
    # every language, and may not be a point by itself.
    check: int = 128
    config: FinetuneConfig = field(default_factory=FinetuneConfig)


@dataclass(frozen=True)
class Material:
    """What a course learns from, read and checked."""

    extension: Extension  # after the course
    said: Said
    skipped: list[InputError]


@dataclass(frozen=True)
class Report:
    """What a course did."""

    lang: str
    known: bool  # before
    pictures: int
    captions: int
    cut: int  # of them as they are learned, with or without boxes, that are too long to be written
    skipped: list[str]
    new_tokens: int
    rehearsal: str
    loss: tuple[float, float] | None  # nats a token of held-out pictures, before and after
    exact: tuple[float, float] | None  # of test scenes in the language, where they can be read
    forgetting: Forgetting | None
    log: list[Row]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "forgetting": self.forgetting and self.forgetting.to_json()}


def read(spec: CourseSpec, model: Captioner, extension: Extension) -> Material:
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
    after = lexis.extended(extension, spec.lang, captions)
    tokenizer = Tokenizer(tokenizer_data(after))
    framing = Framing(tokenizer, after, spec.lang, model.config.text_length)
    said, skipped = open_pairs(pairs, framing, model.config.image_size, spec.on_error)
    return Material(after, said, skipped)


def teach(
    model: Captioner, extension: Extension, material: Material, spec: CourseSpec, say: Say
) -> tuple[Captioner, Report]:
    """Fine-tune a copy of `model` on material that `read` gave."""
    config, said, after = spec.config, material.said, material.extension
    kind, why = rehearsal.chosen(spec.rehearse, extension.languages)
    say(f"{len(said)} pictures; rehearsing from {_REHEARSED[kind]} ({why})")
    before = captioner_of(model, extension)
    student = lexis.grown(model, extension, after)
    known = measurable([lang for lang in extension.languages if lang != spec.lang])
    own = measurable((spec.lang,))
    old = _exact(before, known, spec.check)
    mine, held_out = _split(said, config.seed)
    loss = caption_loss(student, held_out) if len(held_out) else None
    own_before = _exact(captioner_of(student, after), own, spec.check)
    rehearsed = _rehearsal(kind, before, extension, after, mine.canvases, config)
    rows = lexis.new_rows(extension, after)
    log = finetune(student, mine, rehearsed, config, rows)
    student.eval()
    now = captioner_of(student, after)
    new = _exact(now, known, spec.check)
    own_after = _exact(now, own, spec.check)
    return student, Report(
        lang=spec.lang,
        known=spec.lang in extension.languages,
        pictures=len(said),
        captions=said.captions,
        cut=sum(one.is_cut for sayings in said.sayings for one in sayings),
        skipped=[str(error) for error in material.skipped],
        new_tokens=len(after.tokens) - len(extension.tokens),
        rehearsal=kind,
        loss=None if loss is None else (loss, caption_loss(student, held_out)),
        exact=(float(own_before.mean()), float(own_after.mean())) if own_after.size else None,
        forgetting=Forgetting(known, old, new) if new.size else None,
        log=log,
    )


def captioner_of(model: Captioner, extension: Extension) -> Runtime:
    """A network behind the runtime's interface, with as many threads as torch has."""
    return reference_captioner(TorchSession(model, torch.get_num_threads()), extension)


def _rehearsal(
    kind: str,
    before: Runtime,
    extension: Extension,
    after: Extension,
    canvases: np.ndarray,
    config: FinetuneConfig,
) -> rehearsal.Rehearsal:
    if kind == "own":
        tokenizer = Tokenizer(tokenizer_data(after))
        return rehearsal.of_own_captions(before, tokenizer, canvases, config.rehearsed, config.seed)
    return rehearsal.of_scenes(
        extension.languages, after, config.rehearsed, config.seed, config.steps
    )


def _split(said: Said, seed: int) -> tuple[Said, Said]:
    """Pictures to learn from, and pictures that only tell how well; none of few."""
    order = np.random.default_rng(seed).permutation(len(said)).tolist()
    out = min(len(said) // _HELD_OUT, _MOST_HELD_OUT)
    return said.take(order[out:]), said.take(order[:out])


def _exact(captioner: Runtime, languages: Sequence[str], n: int) -> np.ndarray:
    """Bool [K,N]; empty where nothing is asked for."""
    if n == 0 or not languages:
        return np.zeros((0, 0), bool)
    return forgetting.exact(captioner, languages, n)
