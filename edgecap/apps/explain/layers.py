"""Attention maps of every head of every layer, for bundles exported with --attention.

Letters as in session.py; t tokens of the caption, G patches along one side of the model input.
"""

from __future__ import annotations

import numpy as np

from edgecap.apps.explain.maps import CaptionTrace
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.forcing import teacher_forced
from edgecap.runtime.per_head import PerHeadAttention
from edgecap.runtime.validating import check_attention


def layers(captioner: Captioner, trace: CaptionTrace) -> np.ndarray:
    """Maps of each step that generated a token of the caption, f32 [L,H,t,G,G].

    Raises UnsupportedError for a bundle that was exported without --attention.
    """
    contract = captioner.manifest.contract
    check_attention(contract)
    stepping = PerHeadAttention(captioner.session)
    code = stepping.encode_image(trace.model_input[None])
    fed = [trace.tokens[:-1]]  # feeding the last token generates none of the caption
    ((_, attention),) = teacher_forced(stepping, code, trace.prompt, fed, contract.text_length)
    G = contract.grid
    maps = np.moveaxis(attention[: len(trace.tokens)], 0, 2)  # [L,H,t,P]
    return maps.reshape(*maps.shape[:3], G, G)
