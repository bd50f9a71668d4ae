"""The base class of all engines; for graphs of batch 1, a batch is fed one item at a time.

Letters as in session.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from edgecap.bundle.manifest import ATTENTION
from edgecap.core.errors import BundleError, is_out_of_memory, one_line
from edgecap.runtime.session import ImageCode, Step

Arrays = Mapping[str, np.ndarray]
# Functions that every caption needs; others are prepared at their first use.
_CAPTIONS_NEED = ("encode_image", "encode", "decode")


def needed_at_once(functions: Iterable[str]) -> list[str]:
    """The functions of a bundle that are prepared when it is opened."""
    return [name for name in functions if name in _CAPTIONS_NEED]


def failed(file: str, error: Exception) -> Exception:
    """The exception to raise if an engine fails while running a file.

    MemoryError if memory ran out, whatever the engine raised: the caller then halves the batch.
    """
    if is_out_of_memory(error):
        return MemoryError(one_line(error))
    return BundleError("bundle.model", f"{file} failed to run: {one_line(error)}")


class FunctionSession(ABC):
    """The Session protocol over `run`, which takes B = 1, or any B if `batch` is None."""

    batch: int | None = 1

    @abstractmethod
    def run(self, name: str, inputs: Arrays) -> Arrays:
        """Call one function, by the contract's names. Thread-safe."""

    def encode_image(self, image: np.ndarray) -> ImageCode:
        outs = self._each("encode_image", len(image), lambda rows: {"image": image[rows]})
        k, v = _join(outs, "k", 1), _join(outs, "v", 1)  # [L,B,H,P,Dh]
        return ImageCode(k, v, _join(outs, "image_embedding", 0).astype(np.float32, copy=False))

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        return self._step("decode", token, position, k, v)

    def decode_attention(
        self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray
    ) -> Step:
        return self._step(ATTENTION, token, position, k, v)

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        outs = self._each(
            "encode_text",
            len(tokens),
            lambda rows: {"tokens": tokens[rows], "length": length[rows]},
        )
        return _join(outs, "text_embedding", 0).astype(np.float32, copy=False)  # [B,E]

    def _step(
        self, name: str, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray
    ) -> Step:
        outs = self._each(
            name,
            len(token),
            lambda rows: {
                "token": token[rows],
                "position": position[rows],
                "k": k[:, rows],
                "v": v[:, rows],
            },
        )
        return Step(
            _join(outs, "logits", 0).astype(np.float32, copy=False),  # [B,V]
            _join(outs, "k_new", 1),  # [L,B,H,1,Dh]
            _join(outs, "v_new", 1),
            _join(outs, "attention", 0).astype(np.float32, copy=False),  # [B,P] or [B,L,H,P]
        )

    def _each(self, name: str, B: int, cut: Callable[[slice], Arrays]) -> list[Arrays]:
        if self.batch is None:
            return [self.run(name, cut(slice(0, B)))]
        return [self.run(name, cut(slice(b, b + 1))) for b in range(B)]


def _join(outs: list[Arrays], name: str, axis: int) -> np.ndarray:
    if len(outs) == 1:
        return outs[0][name]
    return np.concatenate([out[name] for out in outs], axis)
