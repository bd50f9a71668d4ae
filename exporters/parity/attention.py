"""The gate's view of `decode_attention`: the plain step's scores, and PyTorch's maps by head.

Its scores are held against those of the plain step on the same engine, which were held against
PyTorch's: the two graphs differ in what they hand out and in nothing else. Its maps are held
against PyTorch's, all maps of a step as one row, so that a head that hardly looks at the image
weighs as little as its attention.

Letters as in bundle/interface.py; K steps of one scene, M' steps of the scenes that are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecap.bundle.certificate import OutputParity
from edgecap.bundle.golden import measure
from edgecap.bundle.interface import DECODE_ATTENTION
from edgecap.exporters.parity.compare import worst_of
from edgecap.exporters.parity.outputs import ReferenceCaption, ReferenceOutputs
from edgecap.exporters.parity.tolerances import BOUNDS, SAME_LOGITS, in_units
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.forcing import teacher_forced

STRIDE = 4  # every fourth scene: all languages are among them, and 25 kB a step add up
LOGITS, MAPS = f"{DECODE_ATTENTION} logits", f"{DECODE_ATTENTION} attention"


def reference_maps(
    captioner: Captioner,
    model_inputs: np.ndarray,
    requests: Sequence[tuple[str, str]],
    captions: Sequence[ReferenceCaption],
) -> np.ndarray:
    """The attention of PyTorch's heads along its own captions of some scenes: f32 [M',L,H,P]."""
    graphs = captioner.graphs
    maps = []
    for i in range(0, len(captions), STRIDE):
        encoded = graphs.encode(model_inputs[i : i + 1])
        prompt = captioner.vocabulary.prompt(*requests[i])
        tokens = [captions[i].tokens]
        # [K,L,H,P]
        ((_, attention),) = teacher_forced(graphs, encoded, prompt, tokens, DECODE_ATTENTION)
        maps.append(attention)
    return np.concatenate(maps)


def compare_attention(
    captioner: Captioner, references: ReferenceOutputs
) -> tuple[OutputParity, ...]:
    """Scores against the plain step's, maps against PyTorch's."""
    same = in_units(SAME_LOGITS, references.spread)
    allowed = {LOGITS: same, MAPS: BOUNDS[captioner.manifest.precision].by_head}
    graphs = captioner.graphs
    assert references.by_head is not None
    found: list[tuple[int, OutputParity]] = []
    start = 0
    for i in range(0, len(references.captions), STRIDE):
        encoded = graphs.encode(references.model_input[i : i + 1])
        prompt = captioner.vocabulary.prompt(*references.requests[i])
        tokens = [references.captions[i].tokens]
        ((plain, _),) = teacher_forced(graphs, encoded, prompt, tokens)  # [K,V]
        ((logits, attention),) = teacher_forced(  # [K,V], [K,L,H,P]
            graphs, encoded, prompt, tokens, DECODE_ATTENTION
        )
        K = len(logits)
        expected = np.asarray(references.by_head[start : start + K])  # [K,L,H,P]
        found.append((i, measure(LOGITS, plain, logits, allowed)))
        found.append((i, measure(MAPS, expected.reshape(K, -1), attention.reshape(K, -1), allowed)))
        start += K
    return worst_of(LOGITS, found), worst_of(MAPS, found)
