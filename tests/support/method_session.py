"""Sessions for tests, whose functions are methods with the arguments of schema 1."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from edgecap.bundle.interface import AttentionGrid, Interface, StateEntry, TensorSpec
from edgecap.bundle.interface import captioner as declared
from edgecap.runtime.backends.single import Arrays, FunctionSession
from edgecap.runtime.graphs import Graphs


class ImageCode(NamedTuple):
    """k, v [L,B,H,P,Dh], embedding f32 [B,E]."""

    k: np.ndarray
    v: np.ndarray
    embedding: np.ndarray


class Step(NamedTuple):
    """logits f32 [B,V]; k, v [L,B,H,1,Dh]; attention f32 [B,P] or [B,L,H,P]."""

    logits: np.ndarray
    k: np.ndarray
    v: np.ndarray
    attention: np.ndarray


class MethodSession(FunctionSession):
    """`run` calls encode_image, decode, decode_attention and encode_text."""

    batch: int | None = None

    def run(self, name: str, inputs: Arrays) -> Arrays:
        if name == "encode":
            return dict(
                zip(("k", "v", "image_embedding"), self.encode_image(inputs["image"]), strict=True)
            )
        if name == "encode_text":
            return {"text_embedding": self.encode_text(inputs["tokens"], inputs["length"])}
        arguments = (inputs[key] for key in ("token", "position", "k", "v"))
        made = getattr(self, name)(*arguments)
        return dict(zip(("logits", "new_k", "new_v", "attention"), made, strict=True))

    def encode_image(self, image: np.ndarray) -> ImageCode:
        raise NotImplementedError

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        raise NotImplementedError

    def decode_attention(
        self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray
    ) -> Step:
        raise NotImplementedError

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class Called:
    """The functions of any session as methods, a batch split where the engine takes one."""

    def __init__(self, graphs: Graphs) -> None:
        self.graphs = graphs

    def encode_image(self, image: np.ndarray) -> ImageCode:
        made = self.graphs.encode(image)
        return ImageCode(made["k"], made["v"], made["image_embedding"])

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        inputs = {"token": token, "position": position, "k": k, "v": v}
        made = self.graphs.run("decode", inputs)
        return Step(made["logits"], made["new_k"], made["new_v"], made["attention"])

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        return self.graphs.encode_text(tokens, length)


def interface_for(
    vocabulary: int, text_length: int, patches: int, embedding: int, head_width: int = 1
) -> Interface:
    """Of a model with one layer and one head."""
    dims = {"L": 1, "H": 1, "Dh": head_width, "P": patches, "T": text_length}
    dims |= {"C": patches + text_length, "N": text_length, "V": vocabulary, "E": embedding}
    rows = ("L", "B", "H", "C", "Dh")
    state = [StateEntry(name, "cache", kind, 0, rows, "float32") for name, kind in KINDS]
    grid = AttentionGrid(1, patches, 0)
    made = declared(dims | {"h": 1, "w": 1}, state, embeds=True)
    decode = made.function("decode")
    looked = {"attention": TensorSpec("float32", ("B", "P"))}
    decode = replace(decode, outputs=decode.outputs | looked)
    return replace(made, functions=(made.function("encode"), decode), attention=grid)


KINDS = (("k", "key"), ("v", "value"))
