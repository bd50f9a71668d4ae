"""Records golden files with one captioner and replays them with another (schema 1).

The PyTorch reference records at export; `edgecap verify` replays on the target's runtime. Letters
as in golden.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from edgecap.bundle.certificate import AgreementParity, Certificate, certify
from edgecap.bundle.golden import ARRAYS, SCHEMA, Case, Golden, GoldenIndex, Tolerance, measure
from edgecap.core.errors import BundleError
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.forcing import teacher_forced
from edgecap.runtime.preprocess import preprocess
from edgecap.runtime.reread import Recorded, compare_readings, recorded

STEPS = 4  # K: the first words depend on everything before them, and V * K floats stay small


class Forced(NamedTuple):
    """Outputs of one image along given tokens: f32 [E], [K,V], [K,P]."""

    image_embedding: np.ndarray
    logits: np.ndarray
    attention: np.ndarray


def force(
    captioner: Captioner,
    model_input: np.ndarray,
    lang: str,
    style: str,
    tokens: Sequence[int],
    steps: int,
) -> Forced:
    """Feed model_input uint8 [S,S,3], the prompt and the first tokens; outputs of the last `steps`
    steps.

    Step 0 is the prompt's last token, so `steps - 1` of `tokens` are fed.
    """
    encoded = captioner.graphs.encode(model_input[None])
    prompt = captioner.vocabulary.prompt(lang, style)
    fed = [tokens[: steps - 1]]
    ((logits, attention),) = teacher_forced(captioner.graphs, encoded, prompt, fed)
    return Forced(encoded["image_embedding"][0], logits, attention)


def record(
    captioner: Captioner,
    images: Mapping[str, bytes],
    requests: Sequence[tuple[str, str]],
    texts: Sequence[str],
    tolerances: Mapping[str, Tolerance],
    token_agreement: float,
    steps: int = STEPS,
) -> Golden:
    """Golden files from a reference captioner.

    Args:
        images: image files by name, e.g. image_00.png.
        requests: (lang, style) for each image.
        texts: texts to embed.
        tolerances: for each of golden.ARRAYS, the allowed deviation of a target.
        token_agreement: share 0-1 of cases whose greedy tokens must be equal on the target.
        steps: K at most; fewer where a caption is shorter.
    """
    captions = [
        captioner.caption(data, lang=lang, style=style)[0]
        for data, (lang, style) in zip(images.values(), requests, strict=True)
    ]
    K = min([steps, *(len(caption.tokens) + 1 for caption in captions)])
    settings = captioner.manifest.image
    model_inputs = [preprocess(data, settings)[0] for data in images.values()]
    forced = [
        force(captioner, model_input, caption.lang, caption.style, caption.tokens, K)
        for model_input, caption in zip(model_inputs, captions, strict=True)
    ]
    readings = map(partial(recorded, captioner), images.values(), captions)
    cases = tuple(
        Case(name, one.lang, one.style, one.tokens, one.raw, reading.boxes, reading.complete)
        for name, one, reading in zip(images, captions, readings, strict=True)
    )
    arrays = _arrays(model_inputs, forced, captioner.embed_texts(texts))
    index = GoldenIndex(SCHEMA, cases, tuple(texts), K, dict(tolerances), token_agreement)
    return Golden(index, arrays, dict(images))


def replay(captioner: Captioner, golden: Golden) -> Certificate:
    """Compare this captioner's outputs for the golden inputs with those of the reference."""
    index = golden.index
    settings = captioner.manifest.image
    model_inputs, forced, captions = [], [], []
    for case in index.cases:
        if case.lang not in captioner.languages or len(case.tokens) + 1 < index.steps:
            raise BundleError("bundle.golden", f"the case of {case.image} cannot be replayed.")
        data = golden.images[case.image]
        model_input, _ = preprocess(data, settings)
        model_inputs.append(model_input)
        forced.append(
            force(captioner, model_input, case.lang, case.style, case.tokens, index.steps)
        )
        captions += captioner.caption(data, lang=case.lang, style=case.style)
    arrays = _arrays(model_inputs, forced, captioner.embed_texts(index.texts))
    outputs = tuple(
        measure(name, golden.arrays[name], arrays[name], index.tolerances) for name in ARRAYS
    )
    same = [one.tokens == case.tokens for one, case in zip(captions, index.cases, strict=True)]
    agreements = (
        AgreementParity("tokens", sum(same) / len(same), index.token_agreement),
        *compare_readings(
            captioner,
            [(golden.images[case.image], case.tokens, case.lang) for case in index.cases],
            [Recorded(case.raw, case.boxes, case.complete) for case in index.cases],
            captions,
        ),
    )
    languages = tuple(sorted({case.lang for case in index.cases}))
    target = f"{captioner.manifest.format} {captioner.manifest.precision} on {captioner.backend}"
    return certify("golden files", target, len(index.cases), languages, outputs, agreements)


def _arrays(
    model_inputs: Sequence[np.ndarray], forced: Sequence[Forced], text_embedding: np.ndarray
) -> dict[str, np.ndarray]:
    return {
        "model_input": np.stack(model_inputs),  # [N,S,S,3]
        "image_embedding": np.stack([one.image_embedding for one in forced]),  # [N,E]
        "logits": np.stack([one.logits for one in forced]),  # [N,K,V]
        "attention": np.stack([one.attention for one in forced]),  # [N,K,P]
        "text_embedding": text_embedding,  # [M,E]
    }
