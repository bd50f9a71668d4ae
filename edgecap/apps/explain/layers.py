"""Attention maps of every head of every layer, for bundles exported with --attention.

Letters as in bundle/interface.py; t tokens of the caption, G patches along one side of the
model input.
"""

from __future__ import annotations

import numpy as np

from edgecap.apps.explain.maps import CaptionTrace, grid_of
from edgecap.bundle.interface import DECODE_ATTENTION
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.forcing import teacher_forced
from edgecap.runtime.graphs import check_attention


def layers(captioner: Captioner, trace: CaptionTrace) -> np.ndarray:
    """Maps of each step that generated a token of the caption, f32 [L,H,t,G,G].

    Raises UnsupportedError for a bundle that was exported without --attention.
    """
    graphs = captioner.graphs
    check_attention(graphs.interface)
    encoded = graphs.encode(trace.model_input[None])
    fed = [trace.tokens[:-1]]  # feeding the last token generates none of the caption
    ((_, attention),) = teacher_forced(graphs, encoded, trace.prompt, fed, DECODE_ATTENTION)
    G = grid_of(captioner)
    maps = np.moveaxis(attention[: len(trace.tokens)], 0, 2)  # [L,H,t,P]
    return maps.reshape(*maps.shape[:3], G, G)
