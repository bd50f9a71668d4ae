"""What the parity gate compares with: the PyTorch model's outputs on the gate's scenes.

Letters as in bundle/interface.py; N scenes, K steps of one scene, M of all, b scenes of one batch.
"""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np

from edgecap.bundle.golden import Golden
from edgecap.exporters.parity.attention import reference_maps
from edgecap.exporters.parity.captions import frame, greedy_captions
from edgecap.exporters.parity.outputs import ReferenceCaption, ReferenceOutputs
from edgecap.exporters.parity.tolerances import BOUNDS
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.forcing import teacher_forced
from edgecap.runtime.preprocess import preprocess
from edgecap.runtime.replay import record

BATCH = 8
STYLE = "grounded"
GOLDEN = (("en", 0, (224, 224)), ("de", 1, (320, 200)), ("zh", 2, (150, 260)), ("es", 3, (64, 64)))
TEXTS = ("A dog and a cat.", "Ein roter Kreis über einem blauen Quadrat.", "一只狗在猫的左边。")


def gate_inputs(captioner: Captioner, count: int) -> np.ndarray:
    """The first scenes of the gate's shipped set as model_inputs uint8 [N,S,S,3]."""
    from edgecap.reference.scenes.shipped import load_set

    settings = captioner.manifest.image
    return np.stack([preprocess(image, settings)[0] for image, _ in load_set("gate", count)])


def collect(
    captioner: Captioner, model_inputs: np.ndarray, attention: bool = False
) -> ReferenceOutputs:
    """Run the model on model_inputs uint8 [N,S,S,3], in all languages in turn.

    `attention`: also maps of every layer and head, for bundles that have these.
    """
    import torch

    languages = captioner.languages
    together = max(1, min(BATCH, len(model_inputs) // len(languages)))  # b, of one language each
    requests = [
        (languages[i // together % len(languages)], STYLE) for i in range(len(model_inputs))
    ]
    captions: list[ReferenceCaption] = []
    embeddings, logits, maps = [], [], []
    for start in range(0, len(model_inputs), together):
        rows = slice(start, start + together)
        encoded = captioner.graphs.encode(model_inputs[rows])  # k, v [L,b,H,P,Dh]
        batch_captions = greedy_captions(captioner, encoded, requests[rows])
        prompt = captioner.vocabulary.prompt(*requests[start])
        tokens = [one.tokens for one in batch_captions]
        for scores, looked in teacher_forced(captioner.graphs, encoded, prompt, tokens):
            logits.append(scores)  # [K,V]
            maps.append(looked)  # [K,P]
        captions += batch_captions
        embeddings.append(encoded["image_embedding"])  # [b,E]
    framed = [frame(captioner, one.text) for one in captions]
    by_head = None
    if attention:
        by_head = reference_maps(captioner, model_inputs, requests, captions)  # [M',L,H,P]
    texts = [captioner.graphs.encode_text(*one) for one in framed]  # each [1,E]
    return ReferenceOutputs(
        f"torch {torch.__version__} fp32",
        requests,
        captions,
        model_inputs,
        np.concatenate(embeddings),
        np.concatenate(texts),
        np.concatenate(logits),
        np.concatenate(maps),
        by_head,
    )


def golden(captioner: Captioner, scenes: np.ndarray) -> Golden:
    """Golden files from the first of `scenes` uint8 [N,S,S,3], as images of several sizes.

    They are as exact as the fp32 of a bundle must be; `tolerating` sets other bounds.
    """
    from PIL import Image

    images, requests = {}, []
    for lang, index, size in GOLDEN:
        encoded = io.BytesIO()
        Image.fromarray(scenes[index]).resize(size).save(encoded, "PNG")
        images[f"image_{index:02d}.png"] = encoded.getvalue()
        requests.append((lang if lang in captioner.languages else captioner.languages[0], STYLE))
    exact = BOUNDS["fp32"]
    return record(captioner, images, requests, TEXTS, exact.outputs(1), float(exact.golden))


def tolerating(made: Golden, precision: str, spread: float) -> Golden:
    """The same files, with the bounds of a precision; `spread` as of ReferenceOutputs."""
    bounds = BOUNDS[precision]
    index = replace(
        made.index, tolerances=bounds.outputs(spread), token_agreement=float(bounds.golden)
    )
    return replace(made, index=index)
