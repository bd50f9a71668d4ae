"""A captioner that rests each of its words on one patch of the image: the truth about its maps.

Letters as in bundle/interface.py; G patches along one side of the model_input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from method_session import ImageCode, MethodSession, Step
from tiny_onnx import CONFIG

from edgecap.bundle.schema1 import FUNCTIONS, identity_names
from edgecap.reference.manifest import build_manifest
from edgecap.reference.shipped import shipped_tokenizer
from edgecap.runtime import Captioner
from edgecap.runtime.loading import captioner_of

G, SIZE, PATCH = 14, 224, 16
TOKENIZER = shipped_tokenizer()
Spot = tuple[int, int]  # row and column, in patches


class Spots(MethodSession):
    """Says each token of a script as surely as its patch is red; without a patch, surely."""

    def __init__(self, script: Sequence[tuple[int, Spot | None]]) -> None:
        self.script = script

    def encode_image(self, image: np.ndarray) -> ImageCode:
        red = image[..., 0].reshape(-1, G, PATCH, G, PATCH).mean((2, 4)) / 255  # [B,G,G]
        k = red.reshape(1, len(image), 1, G * G, 1).astype(np.float32)  # [1,B,1,P,1]
        return ImageCode(k, k.copy(), np.ones((len(image), 4), np.float32))

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        logits = np.zeros((len(token), CONFIG.vocabulary), np.float32)  # [B,V]
        step = int(position[0]) - 1  # after <lang> <style>
        if 0 <= step < len(self.script):
            said, spot = self.script[step]
            red = 1.0 if spot is None else k[0, :, 0, spot[0] * G + spot[1], 0]  # [B]
            logits[:, said] = 20 * red
        elif step >= 0:
            logits[:, TOKENIZER.id_of("<eos>")] = 50
        new = np.zeros((1, len(token), 1, 1, 1), np.float32)
        return Step(logits, new, new, np.full((len(token), G * G), 1 / G / G, np.float32))


def captioner(script: Sequence[tuple[int, Spot | None]]) -> Captioner:
    manifest = build_manifest(
        replace(CONFIG, width=1, heads=1),
        name="f",
        model="f",
        format="onnx",
        precision="fp32",
        functions={name: identity_names("x.onnx", name) for name in FUNCTIONS},
    )
    return captioner_of(Spots(script), manifest, TOKENIZER, "fake")


def model_input(spots: Sequence[Spot]) -> np.ndarray:
    """Black, with red patches: uint8 [S,S,3]."""
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    for y, x in spots:
        pixels[y * PATCH : (y + 1) * PATCH, x * PATCH : (x + 1) * PATCH, 0] = 255
    return pixels
