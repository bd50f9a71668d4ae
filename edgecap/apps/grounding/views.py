"""Views of an image: the whole image, and each object alone.

An embedding represents the whole image, so the name of one object among several finds one image in
six. With the other objects removed it finds nearly all
(python -m edgecap.benchmarks.reference.name_search).

Letters: n views of an image, E embedding width, S side of the model input in px.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecap.apps.grounding.hide import hide
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.mentions import InputBox


@dataclass(frozen=True)
class View:
    """The whole image, or one object with all others removed."""

    model_input: np.ndarray  # uint8 [S,S,3]
    boxes: tuple[InputBox, ...] = ()  # of the object, or group of one name; empty: whole image


def embedded_views(
    captioner: Captioner, model_inputs: Sequence[np.ndarray], whole: bool
) -> list[tuple[list[View], np.ndarray]]:
    """The views of each model input and their embeddings, f32 [n,E].

    Raises BundleError (bundle.not_finite) if the model returns NaN or infinity.
    """
    views = _views(captioner, model_inputs, whole)
    vectors = captioner.embed_images([view.model_input for each in views for view in each])
    ends = np.cumsum([len(each) for each in views])
    return list(zip(views, np.split(vectors, ends[:-1]), strict=True))


def _views(
    captioner: Captioner, model_inputs: Sequence[np.ndarray], whole: bool
) -> list[list[View]]:
    """For each model input uint8 [S,S,3] the whole image, then the objects that its caption names.

    A single object has no view of its own. `whole`: only the whole image, without a caption.
    """
    if whole:
        return [[View(model_input)] for model_input in model_inputs]
    captions = captioner.caption(model_inputs, captioner.languages[0])
    return [
        [View(model_input), *_things(model_input, [mention.boxes for mention in caption.mentions])]
        for model_input, caption in zip(model_inputs, captions, strict=True)
    ]


def _things(model_input: np.ndarray, named: Sequence[tuple[InputBox, ...]]) -> list[View]:
    if len(named) < 2:
        return []
    boxes = [box for group in named for box in group]
    return [
        View(hide(model_input, [box for box in boxes if box not in group], group), group)
        for group in named
    ]
