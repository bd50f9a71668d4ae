"""What every head of every layer looked at, from any artifact that hands it out.

Letters as in session.py; t tokens of the caption, G patches along one side of the model_input.
"""

from __future__ import annotations

import numpy as np

from edgecap.apps.explain.maps import CaptionTrace
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.forcing import teacher_forced
from edgecap.runtime.per_head import PerHeadAttention
from edgecap.runtime.validating import check_attention


def layers(captioner: Captioner, told: CaptionTrace) -> np.ndarray:
    """Of each step that chose a token of the caption, f32 [L,H,t,G,G].

    Raises UnsupportedError for a bundle that was exported without --attention.
    """
    contract = captioner.manifest.contract
    check_attention(contract)
    stepping = PerHeadAttention(captioner.session)
    code = stepping.encode_image(told.model_input[None])
    said = [told.tokens[:-1]]  # the step that feeds the last chose nothing that was said
    ((_, attention),) = teacher_forced(stepping, code, told.prompt, said, contract.text_length)
    G = contract.grid
    maps = np.moveaxis(attention[: len(told.tokens)], 0, 2)  # [L,H,t,P]
    return maps.reshape(*maps.shape[:3], G, G)
