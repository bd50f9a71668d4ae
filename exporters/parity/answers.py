"""How both sides of the gate ask: greedy captions of encoded scenes, and texts to embed.

Letters as in session.py; b scenes of one batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecap.exporters.parity.outputs import ReferenceCaption
from edgecap.runtime.cache import Cache
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.decode import generate
from edgecap.runtime.mentions import read
from edgecap.runtime.session import ImageCode


def answer(
    captioner: Captioner, code: ImageCode, asked: Sequence[tuple[str, str]]
) -> list[ReferenceCaption]:
    """Greedy captions of encoded scenes that are all asked for alike or come one by one."""
    lang, style = asked[0]
    vocabulary, manifest = captioner.vocabulary, captioner.manifest
    cache = Cache(captioner.session, code, manifest.contract.text_length)
    limits = vocabulary.limits(None, boxes=True, constrained=True)
    answers = []
    for generated in generate(cache, vocabulary.prompt(lang, style), limits):
        scores = [chosen.score for chosen in generated.chosen]
        reading = read(
            generated.tokens,
            scores,
            captioner.tokenizer,
            vocabulary.locations,
            manifest.coordinates.bin_px,
            lang,
        )
        boxes = [list(box) for group in reading.groups for box in group.boxes]
        answers.append(ReferenceCaption(generated.tokens, reading.text, boxes))
    return answers


def frame(captioner: Captioner, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [1,T] and length [1] of a caption's text, cut where it is longer than a text may be.

    A reference that said nothing has nothing to embed, and a stand-in is compared.
    """
    words = captioner.tokenizer.encode(text.strip() or ".")[: captioner.vocabulary.text_length - 2]
    names, tokenizer = captioner.manifest.tokenizer, captioner.tokenizer
    ids = [tokenizer.id_of(names.text), *words, tokenizer.id_of(names.eos)]
    tokens = np.full((1, captioner.vocabulary.text_length), tokenizer.id_of(names.pad), np.int32)
    tokens[0, : len(ids)] = ids  # [1,T]
    return tokens, np.array([len(ids)], np.int32)
