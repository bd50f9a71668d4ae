"""The job of `edgecap finetune`: read data, fine-tune with rehearsal, measure forgetting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgecap.apps.pairs import read_pairs
from edgecap.core.errors import InputError
from edgecap.reference.extension import Extension, check_code
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.model.session import TorchSession, reference_captioner
from edgecap.reference.shipped import tokenizer_data
from edgecap.reference.train import extend_vocabulary, forgetting, lora, rehearsal
from edgecap.reference.train.captions import (
    CaptionDataset,
    SampleEncoder,
    check_locations,
    open_pairs,
)
from edgecap.reference.train.finetune import FinetuneConfig, Row, caption_loss, finetune_steps
from edgecap.reference.train.forgetting import Forgetting, measurable
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.tokenizer import Tokenizer

_HELD_OUT = 10  # one image in ten is held out for the loss before and after
_MOST_HELD_OUT = 64
_REHEARSED = {"scenes": "drawn scenes", "own": "the starting weights' own captions"}
Notify = Callable[[str], None]


@dataclass(frozen=True)
class FinetuneSpec:
    """What to learn, from which data, and how forgetting is checked."""

    lang: str
    data: Path
    images: Path | None = None  # root of the image names; None: the folder of the data
    rehearse: str = "auto"  # one of rehearsal.KINDS
    on_error: str = "fail"  # fail or skip, for images that cannot be read
    # Gate scenes by which forgetting is measured; 0: none. A misperceived scene fails in every
    # language, so there must be enough that one scene stays below one point.
    check: int = 128
    config: FinetuneConfig = field(default_factory=FinetuneConfig)


@dataclass(frozen=True)
class FinetuneData:
    """The data of a fine-tuning job, read and checked."""

    extension: Extension  # after fine-tuning
    dataset: CaptionDataset
    skipped: list[InputError]


@dataclass(frozen=True)
class FinetuneReport:
    """The results of a fine-tuning job."""

    lang: str
    known: bool  # whether the language was known before
    images: int
    captions: int
    cut: int  # training captions truncated to the model's text length
    skipped: list[str]
    new_tokens: int
    rehearsal: str
    loss: tuple[float, float] | None  # nats per token on held-out images, before and after
    exact: (
        tuple[float, float] | None
    )  # exact captions of gate scenes in the language, if it has a grammar
    forgetting: Forgetting | None
    log: list[Row]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "forgetting": self.forgetting and self.forgetting.to_json()}


def read_data(spec: FinetuneSpec, model: CaptionModel, extension: Extension) -> FinetuneData:
    """Read the data and extend the vocabulary for it; InputError for invalid input.

    Codes: language.*, pairs.*, image.*, finetune.no_words.
    """
    check_code(spec.lang)
    spec.config.check()
    forgetting.check_number(spec.check)
    if spec.config.lora:
        lora.check_rank(model, spec.config.lora)
    extension.with_language(spec.lang)  # raises where no id is left
    rehearsal.choose(spec.rehearse, extension.languages)
    pairs = read_pairs(spec.data, spec.lang, spec.images)
    check_locations(pairs)
    located = next((pair for pair in pairs if pair.regions), None)
    if located is not None:
        raise InputError(
            "finetune.regions",
            f"{located.where} has regions, which name no words of the caption to learn boxes for.",
            "Give spans: characters of the caption, and their boxes.",
        )
    captions = [pair.caption for pair in pairs]
    if not any(character.isalpha() for caption in captions for character in caption):
        raise InputError(
            "finetune.no_words", f"the captions of {spec.data} in {spec.lang!r} have no words."
        )
    after = extend_vocabulary.extend(extension, spec.lang, captions)
    tokenizer = Tokenizer(tokenizer_data(after))
    encoder = SampleEncoder(tokenizer, after, spec.lang, model.config.text_length)
    dataset, skipped = open_pairs(pairs, encoder, model.config.image_size, spec.on_error)
    return FinetuneData(after, dataset, skipped)


def finetune(
    model: CaptionModel,
    extension: Extension,
    data: FinetuneData,
    spec: FinetuneSpec,
    notify: Notify,
) -> tuple[CaptionModel, FinetuneReport]:
    """Fine-tune a copy of `model` on the result of `read_data`."""
    config, dataset, after = spec.config, data.dataset, data.extension
    kind, why = rehearsal.choose(spec.rehearse, extension.languages)
    notify(f"{len(dataset)} images; rehearsing from {_REHEARSED[kind]} ({why})")
    before = captioner_of(model, extension)
    student = extend_vocabulary.resize_embeddings(model, extension, after)
    known = measurable([lang for lang in extension.languages if lang != spec.lang])
    own = measurable((spec.lang,))
    old = _exact(before, known, spec.check)
    training, held_out = _split(dataset, config.seed)
    loss = caption_loss(student, held_out) if len(held_out) else None
    own_before = _exact(captioner_of(student, after), own, spec.check)
    rehearsed = _rehearsal(kind, before, extension, after, training.model_inputs, config)
    rows = extend_vocabulary.new_rows(extension, after)
    log = finetune_steps(student, training, rehearsed, config, rows)
    student.eval()
    now = captioner_of(student, after)
    new = _exact(now, known, spec.check)
    own_after = _exact(now, own, spec.check)
    return student, FinetuneReport(
        lang=spec.lang,
        known=spec.lang in extension.languages,
        images=len(dataset),
        captions=dataset.captions,
        cut=sum(one.is_cut for samples in dataset.samples for one in samples),
        skipped=[str(error) for error in data.skipped],
        new_tokens=len(after.tokens) - len(extension.tokens),
        rehearsal=kind,
        loss=None if loss is None else (loss, caption_loss(student, held_out)),
        exact=(float(own_before.mean()), float(own_after.mean())) if own_after.size else None,
        forgetting=Forgetting(known, old, new) if new.size else None,
        log=log,
    )


def captioner_of(model: CaptionModel, extension: Extension) -> Captioner:
    """A runtime captioner around a network, with torch's number of threads."""
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


def _split(dataset: CaptionDataset, seed: int) -> tuple[CaptionDataset, CaptionDataset]:
    """Training images and held-out images; no held-out ones in small data sets."""
    order = np.random.default_rng(seed).permutation(len(dataset)).tolist()
    out = min(len(dataset) // _HELD_OUT, _MOST_HELD_OUT)
    return dataset.take(order[out:]), dataset.take(order[:out])


def _exact(captioner: Captioner, languages: Sequence[str], n: int) -> np.ndarray:
    """Bool [K,N]; empty where there is nothing to measure."""
    if n == 0 or not languages:
        return np.zeros((0, 0), bool)
    return forgetting.exact(captioner, languages, n)
