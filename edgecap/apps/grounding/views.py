"""An image, and each thing in it alone.

An embedding says all that is there, and "a dog" is not all of a dog among cats: of images that
show a thing beside others, its name finds one in six. With the others taken out it finds nearly all
(python -m edgecap.benchmarks.reference.name_search).

Letters: n views of an image, E embedding width, S model_input side in px.
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
    """An image, or what is left of it without all other things."""

    model_input: np.ndarray  # uint8 [S,S,3]
    boxes: tuple[InputBox, ...] = ()  # of the thing, or the group of one name; none: all of it


def embedded_views(
    captioner: Captioner, model_inputs: Sequence[np.ndarray], whole: bool
) -> list[tuple[list[View], np.ndarray]]:
    """The views of each model_input and where they lie in the shared space, f32 [n,E].

    Raises BundleError (bundle.not_finite) where the model's numbers are none.
    """
    shown = _views(captioner, model_inputs, whole)
    vectors = captioner.embed_images([view.model_input for each in shown for view in each])
    ends = np.cumsum([len(each) for each in shown])
    return list(zip(shown, np.split(vectors, ends[:-1]), strict=True))


def _views(
    captioner: Captioner, model_inputs: Sequence[np.ndarray], whole: bool
) -> list[list[View]]:
    """Of each model_input uint8 [S,S,3] the whole, then the things that its caption names.

    One thing that is all there is gives no view of its own. `whole`: nothing does, and no caption
    is made.
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
