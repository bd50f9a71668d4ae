"""A picture, and each thing in it alone.

An embedding says all that is there, and "a dog" is not all of a dog among cats: of pictures that
show a thing beside others, its name finds one in six. With the others taken out it finds nearly all
(python -m edgecap.benchmarks.reference.name_search).

Letters: n views of a picture, E embedding width, S canvas side in px.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecap.apps.grounding.hide import hide
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.mentions import CanvasBox


@dataclass(frozen=True)
class View:
    """A picture, or what is left of it without all other things."""

    canvas: np.ndarray  # uint8 [S,S,3]
    boxes: tuple[CanvasBox, ...] = ()  # of the thing, or the group of one name; none: all of it


def embedded_views(
    captioner: Captioner, canvases: Sequence[np.ndarray], whole: bool
) -> list[tuple[list[View], np.ndarray]]:
    """The views of each canvas and where they lie in the shared space, f32 [n,E].

    Raises BundleError (bundle.not_finite) where the model's numbers are none.
    """
    shown = _views(captioner, canvases, whole)
    vectors = captioner.embed_images([view.canvas for each in shown for view in each])
    ends = np.cumsum([len(each) for each in shown])
    return list(zip(shown, np.split(vectors, ends[:-1]), strict=True))


def _views(captioner: Captioner, canvases: Sequence[np.ndarray], whole: bool) -> list[list[View]]:
    """Of each canvas uint8 [S,S,3] the whole, then the things that its caption names.

    One thing that is all there is gives no view of its own. `whole`: nothing does, and no caption
    is made.
    """
    if whole:
        return [[View(canvas)] for canvas in canvases]
    captions = captioner.caption(canvases, captioner.languages[0])
    return [
        [View(canvas), *_things(canvas, [mention.boxes for mention in caption.mentions])]
        for canvas, caption in zip(canvases, captions, strict=True)
    ]


def _things(canvas: np.ndarray, named: Sequence[tuple[CanvasBox, ...]]) -> list[View]:
    if len(named) < 2:
        return []
    boxes = [box for group in named for box in group]
    return [
        View(hide(canvas, [box for box in boxes if box not in group], group), group)
        for group in named
    ]
