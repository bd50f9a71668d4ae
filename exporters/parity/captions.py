"""What both sides of the gate do: greedy captions of encoded scenes, and texts to embed.

Letters as in bundle/interface.py; b scenes of one batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgecap.exporters.parity.outputs import ReferenceCaption
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.captions import read
from edgecap.runtime.decode import generate
from edgecap.runtime.preprocess import letterbox
from edgecap.runtime.regions import Input
from edgecap.runtime.state import State


def greedy_captions(
    captioner: Captioner, encoded: Mapping[str, np.ndarray], requests: Sequence[tuple[str, str]]
) -> list[ReferenceCaption]:
    """Greedy captions of encoded scenes: all with the same request, or one scene at a time."""
    lang, style = requests[0]
    manifest = captioner.manifest
    S = manifest.image.input_size[0]
    view = Input((S, S), letterbox(S, S, S))  # boxes are compared in px of the model's input
    captions = []
    for generated in generate(
        State(captioner.graphs, encoded), captioner.vocabulary.rules(lang, style)
    ):
        scores = [chosen.score for chosen in generated.chosen]
        reading = read(generated.tokens, scores, captioner.codec, manifest.regions, view, lang)
        boxes = [list(box) for region in reading.regions for box in region.boxes]
        captions.append(ReferenceCaption(generated.tokens, reading.text, boxes))
    return captions


def frame(captioner: Captioner, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [1,T] and length [1] of a caption's text, cut where it is longer than a text may be.

    An empty caption has nothing to embed, and "." is compared instead.
    """
    around, N = captioner.manifest.texts, captioner.manifest.interface.dims["N"]
    assert around is not None  # the reference embeds texts
    words = captioner.tokenizer.encode(text.strip() or ".")
    words = words[: N - len(around.begin) - len(around.end)]
    ids = [*around.begin, *words, *around.end]
    tokens = np.full((1, N), around.pad, np.int32)
    tokens[0, : len(ids)] = ids  # [1,T]
    return tokens, np.array([len(ids)], np.int32)
