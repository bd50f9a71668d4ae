"""The functions of a bundle, by the names of its interface, on any engine.

Letters: B batch, b first item of a call, h and w height and width of the image in px, n crops of an
image, F rows of a crop, D their width, V vocabulary, E embedding, N tokens of a text to embed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgecap.bundle.interface import (
    DECODE_ATTENTION,
    ENCODE,
    ENCODE_CROP,
    ENCODE_TEXT,
    Interface,
)
from edgecap.core.errors import UnsupportedError
from edgecap.runtime.backends.buffers import Buffers, Outputs
from edgecap.runtime.backends.single import Bound, FunctionSession
from edgecap.runtime.image_processing import ModelInput

Arrays = Mapping[str, np.ndarray]


class Graphs:
    """Calls functions of the interface; splits batches for engines of batch 1, checks shapes.

    Thread-safe if the session is.
    """

    def __init__(self, session: FunctionSession, interface: Interface) -> None:
        self.interface, self.session = interface, session
        self.batch = 1 if 1 in (interface.batch, session.batch) else None
        self._outputs: dict[tuple[str, int], Outputs] = {}

    def for_threads(self, count: int) -> list[Graphs]:
        """The same for `count` threads at the same time; fewer if the engine supports fewer."""
        if count == 1:
            return [self]
        return [Graphs(session, self.interface) for session in self.session.for_threads(count)]

    def encode(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Image rows and rolling state of uint8 [B,h,w,3], `image_embedding` [B,E] if declared."""
        return self.run(ENCODE, {"image": image})

    def encode_inputs(self, images: Sequence[ModelInput]) -> dict[str, np.ndarray]:
        """`encode` of processed images; those of a model with encode_crop in crops, each [n,h,w,3].

        Crops are encoded one at a time, which takes the least memory, and images where that takes
        no longer: an image is a large matrix already.
        """
        if not self.interface.has(ENCODE_CROP):
            if self.session.encodes_alone and len(images) > 1:
                return self.join([self.encode(image.pixels) for image in images])
            return self.encode(np.concatenate([image.pixels for image in images]))
        shape = self.interface.function(ENCODE).inputs["features"].shape
        features = np.zeros(self.interface.sizes(shape, len(images)), np.float32)  # [B,n,F,D]
        for b, image in enumerate(images):
            for place in range(len(image.pixels)):
                crop = self.run(ENCODE_CROP, {"image": image.pixels[place : place + 1]})
                features[b, place] = crop["features"][0]  # [F,D]
        grid = np.array([image.grid for image in images], np.int32)  # [B,2]
        return self.run(ENCODE, {"features": features, "grid": grid})

    @property
    def encodes_in_place(self) -> bool:
        """Whether a state encodes each image by itself, straight into its buffers."""
        alone = self.batch == 1 or self.session.encodes_alone
        constant = self.interface.entries("image")  # these stay in the arrays that it returns
        return alone and not constant and not self.interface.has(ENCODE_CROP)

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Embeddings f32 [B,E] of int32 tokens [B,N], of which the first `length` [B] are used."""
        return self.run(ENCODE_TEXT, {"tokens": tokens, "length": length})["text_embedding"]

    def run(self, name: str, inputs: Arrays) -> dict[str, np.ndarray]:
        """Run one function on a batch; BundleError for outputs of other shapes than declared."""
        spec = self.interface.function(name)
        axes = {key: tensor.batch_axis for key, tensor in spec.inputs.items()}
        first = next(iter(inputs))
        B = inputs[first].shape[axes[first]]
        if self.batch is None or B == 1:
            return self.outputs(name, B).checked(self.session.run(name, inputs))
        parts = []
        for b in range(B):
            one = {key: _part(value, axes[key], b) for key, value in inputs.items()}
            parts.append(self.outputs(name, 1).checked(self.session.run(name, one)))
        return {
            key: np.concatenate([part[key] for part in parts], tensor.batch_axis)
            for key, tensor in spec.outputs.items()
        }

    def bind(self, name: str, fixed: Arrays, buffers: Buffers) -> Bound:
        """Prepare calls of one function over inputs of one engine call, kept in place."""
        return self.session.bind(name, fixed, buffers)

    def outputs(self, name: str, B: int) -> Outputs:
        """The declared outputs of a function; kept, since every step asks."""
        if (name, B) not in self._outputs:
            declared = self.interface.function(name).outputs.items()
            self._outputs[name, B] = Outputs(
                name,
                {
                    key: (self.interface.sizes(tensor.shape, B), np.dtype(tensor.dtype))
                    for key, tensor in declared
                },
            )
        return self._outputs[name, B]

    def pick(self, encoded: Arrays, images: Sequence[int]) -> dict[str, np.ndarray]:
        """The outputs of `encode` for some images of a batch, in this order; repeats allowed."""
        outputs = self.interface.function(ENCODE).outputs
        return {
            key: np.take(value, list(images), outputs[key].batch_axis)
            for key, value in encoded.items()
        }

    def cut(self, encoded: Arrays, images: slice) -> dict[str, np.ndarray]:
        """The outputs of `encode` for some images of a batch, not copied."""
        outputs = self.interface.function(ENCODE).outputs
        return {
            key: value[(slice(None),) * outputs[key].batch_axis + (images,)]
            for key, value in encoded.items()
        }

    def join(self, parts: Sequence[Arrays]) -> dict[str, np.ndarray]:
        """The outputs of several calls of `encode` as those of one."""
        outputs = self.interface.function(ENCODE).outputs
        return {
            key: np.concatenate([part[key] for part in parts], outputs[key].batch_axis)
            for key in parts[0]
        }


def check_attention(interface: Interface) -> None:
    """Raise UnsupportedError if the model does not give the attention of layers and heads."""
    if not interface.has(DECODE_ATTENTION):
        raise UnsupportedError(
            "attention.missing",
            "this bundle was exported without --attention; it returns only the mean over layers "
            "and heads.",
            "Export it again with --attention, or use the PyTorch model S.",
        )


def _part(value: np.ndarray, axis: int, b: int) -> np.ndarray:
    """Item b of a batch, as a batch of one."""
    return value[(slice(None),) * axis + (slice(b, b + 1),)]
