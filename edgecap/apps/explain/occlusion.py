"""Occlusion: hide a part of the image and measure how much less likely each word becomes.

A causal check that works with any bundle (Zeiler and Fergus, arXiv 1311.2901). A hidden window is
filled with the median colour around it, so that it adds as little as possible.

Letters as in bundle/interface.py; t tokens of the caption, G patches along one side, N windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edgecap.apps.explain.maps import CaptionTrace, grid_of
from edgecap.apps.fill import local_fill_colour
from edgecap.core.progress import progress
from edgecap.runtime.batches import in_batches
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.scoring import token_scores

WINDOW = 2  # patches per side: 32 px of 224, about the smallest object in captions

Window = tuple[slice, slice]  # rows and columns, in patches


def occlusion(captioner: Captioner, trace: CaptionTrace, window: int = WINDOW) -> np.ndarray:
    """Per token, the drop of its log-probability when each window is hidden: f32 [t,G,G].

    Negative if hiding makes the token more likely. Windows in the padding of the model input are
    skipped and count 0.
    """
    G = grid_of(captioner)
    drops = np.zeros((len(trace.tokens), G, G), np.float32)
    if not trace.tokens:
        return drops
    windows = [w for w in _windows(G, window) if _on_image(trace, w, G)]
    (whole,) = forced_scores(captioner, [trace.model_input], trace.prompt, trace.tokens)  # [t]
    hidden = (hide(trace.model_input, w, trace.model_input.shape[0] // G) for w in windows)
    scores = forced_scores(captioner, hidden, trace.prompt, trace.tokens)
    for (rows, columns), left in zip(
        windows, progress(scores, "hiding", len(windows)), strict=True
    ):
        drops[:, rows, columns] = (whole - left)[:, None, None]
    return drops


def forced_scores(
    captioner: Captioner,
    model_inputs: Iterable[np.ndarray],
    prompt: Sequence[int],
    tokens: Sequence[int],
) -> Iterable[np.ndarray]:
    """log p of each of the tokens, f32 [t], for each model_input uint8 [S,S,3], in order."""
    sequence = [*prompt, *tokens]

    def work(batch: Sequence[np.ndarray]) -> list[np.ndarray]:
        encoded = captioner.graphs.encode(np.stack(batch))
        scores = token_scores(captioner.graphs, encoded, [sequence] * len(batch))
        return [row[len(prompt) - 1 :] for row in scores]

    return in_batches(model_inputs, captioner.batch_size(), work)


def hide(model_input: np.ndarray, window: Window, patch: int) -> np.ndarray:
    """A copy of uint8 [S,S,3] with the window, in patches of `patch` px, filled from around it."""
    inner, outer = (_pixels(window, patch, margin) for margin in (0, patch // 2))
    bare = model_input.copy()
    bare[inner] = local_fill_colour(model_input, inner, outer)
    return bare


def _windows(G: int, window: int) -> list[Window]:
    starts = range(0, G, window)
    return [(slice(y, y + window), slice(x, x + window)) for y in starts for x in starts]


def _pixels(window: Window, patch: int, margin: int) -> Window:
    rows, columns = (
        slice(max(side.start * patch - margin, 0), side.stop * patch + margin) for side in window
    )
    return rows, columns


def _on_image(trace: CaptionTrace, window: Window, G: int) -> bool:
    place, patch = trace.attention.placement, trace.model_input.shape[0] // G
    rows, columns = _pixels(window, patch, 0)
    return (
        rows.start < place.top + place.scaled_height
        and rows.stop > place.top
        and columns.start < place.left + place.scaled_width
        and columns.stop > place.left
    )
