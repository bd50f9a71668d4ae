"""What every head of every layer looked at, from any artifact that hands it out.

Letters as in session.py; t tokens of the caption, G patches along one side of the canvas.
"""

from __future__ import annotations

import numpy as np

from edgecap.runtime.by_head import ByHead
from edgecap.runtime.cache import Cache
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.checked import check_attention
from edgecap.runtime.explain.maps import Told


def layers(captioner: Captioner, told: Told) -> np.ndarray:
    """Of each step that chose a token of the caption, f32 [L,H,t,G,G].

    Raises UnsupportedError for a bundle that was exported without --attention.
    """
    contract = captioner.manifest.contract
    check_attention(contract)
    L, H, G, t = contract.layers, contract.heads, contract.grid, len(told.tokens)
    maps = np.zeros((L, H, t, G, G), np.float32)
    code = captioner.session.encode_image(told.canvas[None])
    cache = Cache(ByHead(captioner.session), code, contract.text_length)
    fed = [*told.prompt, *told.tokens[:-1]]
    for place, token in enumerate(fed, start=1 - len(told.prompt)):
        step = cache.step([token])
        if 0 <= place < t:
            maps[:, :, place] = step.attention[0].reshape(L, H, G, G)
    return maps
