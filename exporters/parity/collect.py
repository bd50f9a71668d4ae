"""What the parity gate compares with: the PyTorch model's answers about evaluation scenes.

Letters as in parity.py; b scenes of one batch.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from edgecap.bundle.golden import Golden
from edgecap.bundle.manifest import ATTENTION, Manifest
from edgecap.exporters.parity.attention import reference_maps
from edgecap.exporters.parity.gate import ReferenceCaption, ReferenceOutputs, answer, frame
from edgecap.exporters.parity.tolerances import BOUNDS
from edgecap.reference.model.session import TorchSession
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.forcing import teacher_forced
from edgecap.runtime.replay import record
from edgecap.runtime.tokenizer import Tokenizer

if TYPE_CHECKING:
    from edgecap.reference.model.captioner import CaptionModel

BATCH = 8
STYLE = "grounded"
GOLDEN = (("en", 0, (224, 224)), ("de", 1, (320, 200)), ("zh", 2, (150, 260)), ("es", 3, (64, 64)))
TEXTS = ("A dog and a cat.", "Ein roter Kreis über einem blauen Quadrat.", "一只狗在猫的左边。")


def reference(network: CaptionModel, manifest: Manifest, tokenizer: Tokenizer) -> Captioner:
    """The PyTorch model behind the runtime's interface."""
    return Captioner(TorchSession(network), manifest, tokenizer, "torch")


def collect(captioner: Captioner, model_inputs: np.ndarray) -> ReferenceOutputs:
    """Ask about model_inputs uint8 [N,S,S,3], in all languages in turn."""
    import torch

    languages = captioner.languages
    together = max(1, min(BATCH, len(model_inputs) // len(languages)))  # b, of one language each
    asked = [(languages[i // together % len(languages)], STYLE) for i in range(len(model_inputs))]
    answers: list[ReferenceCaption] = []
    embeddings, logits, attention = [], [], []
    for start in range(0, len(model_inputs), together):
        rows = slice(start, start + together)
        code = captioner.session.encode_image(model_inputs[rows])  # k, v [L,b,H,P,Dh]
        said = answer(captioner, code, asked[rows])
        prompt = captioner.vocabulary.prompt(*asked[start])
        tokens, T = [one.tokens for one in said], captioner.vocabulary.text_length
        for scores, looked in teacher_forced(captioner.session, code, prompt, tokens, T):
            logits.append(scores)  # [K,V]
            attention.append(looked)  # [K,P]
        answers += said
        embeddings.append(code.embedding)  # [b,E]
    framed = [frame(captioner, one.text) for one in answers]
    by_head = None
    if ATTENTION in captioner.manifest.contract.functions:
        by_head = reference_maps(captioner, model_inputs, asked, answers)  # [M',L,H,P]
    texts = [captioner.session.encode_text(*one) for one in framed]  # each [1,E]
    return ReferenceOutputs(
        f"torch {torch.__version__} fp32",
        asked,
        answers,
        model_inputs,
        np.concatenate(embeddings),
        np.concatenate(texts),
        np.concatenate(logits),
        np.concatenate(attention),
        by_head,
    )


def golden(captioner: Captioner, scenes: np.ndarray, precision: str) -> Golden:
    """Golden files from the first of `scenes` uint8 [N,S,S,3], as images of several sizes."""
    from PIL import Image

    images, asked = {}, []
    for lang, index, size in GOLDEN:
        encoded = io.BytesIO()
        Image.fromarray(scenes[index]).resize(size).save(encoded, "PNG")
        images[f"image_{index:02d}.png"] = encoded.getvalue()
        asked.append((lang if lang in captioner.languages else captioner.languages[0], STYLE))
    bounds = BOUNDS[precision]
    return record(captioner, images, asked, TEXTS, bounds.outputs, float(bounds.golden))
