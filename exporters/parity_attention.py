"""The gate's view of `decode_attention`: the plain step's scores, and PyTorch's maps by head.

Its scores are held against those of the plain step on the same engine, which were held against
PyTorch's: the two graphs differ in what they hand out and in nothing else. Its maps are held
against PyTorch's, all maps of a step as one row, so that a head that hardly looks at the picture
weighs as little as its attention.

Letters as in parity.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecap.bundle.certificate import OutputParity
from edgecap.bundle.golden import measure
from edgecap.bundle.manifest import ATTENTION
from edgecap.exporters.parity import Answer, References, worst_of
from edgecap.exporters.tolerances import BOUNDS, SAME_LOGITS
from edgecap.runtime.by_head import ByHead
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.replay import follow

STRIDE = 4  # every fourth scene: all languages are among them, and 25 kB a step add up
LOGITS, MAPS = f"{ATTENTION} logits", f"{ATTENTION} attention"


def by_head(captioner: Captioner) -> Captioner:
    """The same captioner, stepping through `decode_attention`."""
    session = ByHead(captioner.session)
    return Captioner(session, captioner.manifest, captioner.tokenizer, captioner.backend)


def reference_maps(
    captioner: Captioner,
    canvases: np.ndarray,
    asked: Sequence[tuple[str, str]],
    answers: Sequence[Answer],
) -> np.ndarray:
    """What PyTorch's heads look at along its own captions of some scenes: f32 [M',L,H,P]."""
    stepping = by_head(captioner)
    maps = []
    for i in range(0, len(answers), STRIDE):
        code = captioner.session.encode_image(canvases[i : i + 1])
        prompt = captioner.vocabulary.prompt(*asked[i])
        ((_, attention),) = follow(stepping, code, prompt, [answers[i].tokens])  # [K,L,H,P]
        maps.append(attention)
    return np.concatenate(maps)


def compare_attention(captioner: Captioner, references: References) -> tuple[OutputParity, ...]:
    """Scores against the plain step's, maps against PyTorch's."""
    allowed = {LOGITS: SAME_LOGITS, MAPS: BOUNDS[captioner.manifest.precision].by_head}
    stepping = by_head(captioner)
    assert references.by_head is not None
    found: list[tuple[int, OutputParity]] = []
    start = 0
    for i in range(0, len(references.answers), STRIDE):
        code = captioner.session.encode_image(references.canvas[i : i + 1])
        prompt = captioner.vocabulary.prompt(*references.asked[i])
        tokens = [references.answers[i].tokens]
        ((plain, _),) = follow(captioner, code, prompt, tokens)  # [K,V]
        ((logits, attention),) = follow(stepping, code, prompt, tokens)  # [K,V], [K,L,H,P]
        K = len(logits)
        wanted = np.asarray(references.by_head[start : start + K])  # [K,L,H,P]
        found.append((i, measure(LOGITS, plain, logits, allowed)))
        found.append((i, measure(MAPS, wanted.reshape(K, -1), attention.reshape(K, -1), allowed)))
        start += K
    return worst_of(LOGITS, found), worst_of(MAPS, found)
