"""Rehearsal: keeps a model from forgetting its languages while it learns another.

Part of every step is captions in those languages: of newly drawn scenes where the emoji font is
installed, else the starting weights' own captions of the training images and of the shipped ones
(self-distillation).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgecap.core.choices import pick
from edgecap.core.errors import InputError
from edgecap.core.progress import progress
from edgecap.reference.extension import Extension
from edgecap.reference.scenes.grammar import GRAMMAR_LANGUAGES
from edgecap.reference.scenes.shipped import load_set
from edgecap.reference.tokens import EOS_ID, STYLES, TEXT_ID
from edgecap.reference.train.batch import Batch
from edgecap.reference.train.captions import CaptionDataset, CaptionSample
from edgecap.reference.train.config import Stage, TrainConfig
from edgecap.reference.train.data import SceneBatches
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.captions import Caption
from edgecap.runtime.tokenizer import Tokenizer

KINDS = ("auto", "scenes", "own")
Rehearsal = Callable[[int], Batch]  # step -> batch to rehearse
_TOKENS, _TEXT_TOKENS = 64, 40  # of a scene's packed captions and of its text
_OWN_STYLE = "grounded"


def choose(kind: str, languages: Sequence[str]) -> tuple[str, str]:
    """The kind to use and the reason; InputError for one that is not possible here."""
    pick("rehearsal", kind, KINDS)
    without_grammar = [one for one in languages if one not in GRAMMAR_LANGUAGES]
    if kind != "own" and without_grammar:
        if kind == "scenes":
            raise InputError(
                "rehearsal.language",
                f"scenes cannot be described in {', '.join(without_grammar)}.",
                "Run with: --rehearse own",
            )
        return "own", f"scenes cannot be described in {', '.join(without_grammar)}"
    if kind == "auto":
        try:
            _check_font()
        except InputError:
            return "own", "the emoji font is missing, so scenes cannot be drawn"
        return "scenes", "the emoji font is installed"
    if kind == "scenes":
        _check_font()
    return kind, "as requested"


def _check_font() -> None:
    from edgecap.reference.scenes.sprites import sprite

    sprite("dog", 0, 24, 24)


def of_scenes(
    languages: Sequence[str], extension: Extension, images: int, seed: int, steps: int
) -> Rehearsal:
    """Drawn scenes with true captions and, for the embeddings, hard negatives."""
    drawn = images * steps
    stage = Stage(224, drawn, images, _TOKENS, images, _TEXT_TOKENS, tuple(languages), claims=0)
    config = TrainConfig(stages=(stage,), seed=seed, slips=0, extension=extension)
    return SceneBatches(config).__getitem__


def of_own_captions(
    captioner: Captioner, tokenizer: Tokenizer, model_inputs: np.ndarray, images: int, seed: int
) -> Rehearsal:
    """The captioner's own captions of model inputs uint8 [N,S,S,3] and of the shipped scenes.

    Each image is captioned once; languages alternate. `tokenizer` is the extended one, so that
    captions are rehearsed in its tokens.
    """
    shipped = np.stack([pixels for pixels, _ in load_set("calibration")])  # [128,S,S,3]
    every = np.concatenate([model_inputs, shipped])  # [N+128,S,S,3]
    samples: list[tuple[CaptionSample, ...]] = [()] * len(every)
    languages = captioner.languages
    for turn, language in enumerate(progress(languages, "own captions")):
        places = range(turn, len(every), len(languages))
        captions = captioner.caption_many(every[list(places)], lang=language, style=_OWN_STYLE)
        for place, caption in zip(places, captions, strict=True):
            if not isinstance(caption, InputError):
                samples[place] = (_own(captioner, tokenizer, language, caption),)
    own = CaptionDataset(every, tuple(samples))
    return lambda step: own.batch(seed, step, images)


def _own(
    captioner: Captioner, tokenizer: Tokenizer, language: str, caption: Caption
) -> CaptionSample:
    prompt = captioner.vocabulary.prompt(language, pick("style", _OWN_STYLE, STYLES))
    words = tokenizer.encode(caption.raw, allow_special=True)
    bare = tokenizer.encode(caption.text)[: captioner.vocabulary.text_length - 2]
    room = captioner.vocabulary.text_length - 3
    return CaptionSample((*prompt, *words[:room], EOS_ID), (TEXT_ID, *bare, EOS_ID))
