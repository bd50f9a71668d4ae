"""The causal check: hide a part of the image and see how much less likely each word becomes.

Works on any artifact, because it only asks the model again (Zeiler and Fergus, arXiv 1311.2901).
A hidden window is filled with the median colour around it, so that hiding adds as little as it can.

Letters as in session.py; t tokens of the caption, G patches along one side, N windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edgecap.apps.explain.maps import CaptionTrace
from edgecap.apps.fill import local_fill_colour
from edgecap.core.progress import progress
from edgecap.runtime.batches import in_batches
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.scoring import token_scores

WINDOW = 2  # patches a side: 32 px of 224, about the smallest thing that is told of

Window = tuple[slice, slice]  # rows and columns, in patches


def occlusion(captioner: Captioner, told: CaptionTrace, window: int = WINDOW) -> np.ndarray:
    """Per token, how much its log-probability falls where each window is hidden: f32 [t,G,G].

    Negative where hiding makes the token more likely. Windows beside the image, on the
    model_input's padding, are not tried and count 0.
    """
    G = captioner.manifest.contract.grid
    drops = np.zeros((len(told.tokens), G, G), np.float32)
    if not told.tokens:
        return drops
    windows = [w for w in _windows(G, window) if _on_image(told, w, G)]
    (whole,) = forced_scores(captioner, [told.model_input], told.prompt, told.tokens)  # [t]
    hidden = (hide(told.model_input, w, told.model_input.shape[0] // G) for w in windows)
    scores = forced_scores(captioner, hidden, told.prompt, told.tokens)
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
    text_length = captioner.manifest.contract.text_length
    said = [*prompt, *tokens]

    def work(batch: Sequence[np.ndarray]) -> list[np.ndarray]:
        code = captioner.session.encode_image(np.stack(batch))
        scores = token_scores(captioner.session, code, text_length, [said] * len(batch))
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


def _on_image(told: CaptionTrace, window: Window, G: int) -> bool:
    place, patch = told.attention.placement, told.model_input.shape[0] // G
    rows, columns = _pixels(window, patch, 0)
    return (
        rows.start < place.top + place.scaled_height
        and rows.stop > place.top
        and columns.start < place.left + place.scaled_width
        and columns.stop > place.left
    )
