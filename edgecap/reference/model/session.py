"""The PyTorch model as a runtime session: the reference that every target is compared with.

Letters as in bundle/interface.py.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecap.bundle.files import TOKENIZER
from edgecap.bundle.interface import DECODE, DECODE_ATTENTION, ENCODE, ENCODE_TEXT
from edgecap.bundle.schema1 import FUNCTIONS, identity_names
from edgecap.core.digest import file_sha256
from edgecap.core.errors import UnsupportedError, is_out_of_memory
from edgecap.core.lazy import require
from edgecap.reference.extension import SHIPPED, Extension
from edgecap.reference.manifest import build_manifest
from edgecap.reference.shipped import tokenizer_data
from edgecap.runtime import memory
from edgecap.runtime.backends.single import Arrays, FunctionSession
from edgecap.runtime.batches import BATCH
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.loading import captioner_of
from edgecap.runtime.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from edgecap.reference.model.captioner import CaptionModel


def open_weights(
    model: str, threads: int, device: str = "cpu"
) -> tuple[str, Path, TorchSession, Extension]:
    """Name, file, session and languages of a shipped model ("S") or a .safetensors file.

    Raises MissingPackageError without torch, InputError for weights that cannot be used, and
    UnsupportedError for cuda where there is none.
    """
    torch = require("torch", "torch")
    from edgecap.reference.model import weights

    if device == "cuda" and not torch.cuda.is_available():
        raise UnsupportedError(
            "device.missing",
            "PyTorch finds no GPU.",
            "Omit the device to run on the CPU.",
        )
    name, path = weights.resolve(model)
    network = weights.load(path).to(device)
    return name, path, TorchSession(network, threads), weights.extension(path)


_STEP = ("logits", "new_k", "new_v", "attention")
# Per function: the method of CaptionModel, its arguments and its results.
_FUNCTIONS = {
    ENCODE: ("encode_image", ("image",), ("k", "v", "image_embedding")),
    DECODE: ("decode", ("token", "position", "k", "v"), _STEP),
    DECODE_ATTENTION: ("decode_attention", ("token", "position", "k", "v"), _STEP),
    ENCODE_TEXT: ("encode_text", ("tokens", "length"), ("text_embedding",)),
}


class TorchSession(FunctionSession):
    """A captioner in evaluation mode; calls from several threads take turns."""

    batch = None

    @property
    def most(self) -> int:
        """Largest batch that still gains speed, images."""
        return 256 if self._device.type == "cuda" else BATCH

    def __init__(self, model: CaptionModel, threads: int = 1) -> None:
        self._torch = require("torch", "torch")
        self.network = model.eval()
        self._threads = threads
        self._device = next(model.parameters()).device
        self._lock = threading.Lock()

    def run(self, name: str, inputs: Arrays) -> dict[str, np.ndarray]:
        method, arguments, results = _FUNCTIONS[name]
        arrays = (inputs[argument] for argument in arguments)
        return dict(zip(results, self._run(getattr(self.network, method), *arrays), strict=True))

    def free_bytes(self) -> int:
        """Free memory on the model's device, bytes.

        On a GPU, blocks cached by torch count as free; the host's memory is a limit too, because a
        batch's cache and outputs are copied there.
        """
        host = memory.free_bytes()
        if self._device.type != "cuda":
            return host
        cuda = self._torch.cuda
        kept = cuda.memory_reserved(self._device) - cuda.memory_allocated(self._device)
        return min(int(cuda.mem_get_info(self._device)[0]) + kept, host)

    def _run(self, function: object, *arrays: np.ndarray) -> list[np.ndarray]:
        """Call with arrays in and f32 arrays out; integers go in as int64.

        Raises MemoryError when memory runs out; torch has a different error for each device.
        """
        torch = self._torch

        def tensor(array: np.ndarray) -> Tensor:
            wide = array.astype(np.int64) if array.dtype == np.int32 else array
            return torch.from_numpy(np.ascontiguousarray(wide)).to(self._device)

        with self._lock, torch.inference_mode():
            before = torch.get_num_threads()
            torch.set_num_threads(self._threads)
            try:
                out = function(*map(tensor, arrays))  # type: ignore[operator]
                outputs = out if isinstance(out, tuple) else (out,)
                # A GPU reports some failures only here, and the copies use the host's memory.
                return [output.float().cpu().numpy() for output in outputs]
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise MemoryError(str(error)) from None
            finally:
                torch.set_num_threads(before)


def load_reference(model: str, threads: int = 1, device: str = "cpu") -> Captioner:
    """The PyTorch model of a shipped name or a .safetensors file, with its tokenizer."""
    if Path(model).is_dir():
        raise UnsupportedError(
            "backend.format",
            f"{model} is a bundle; the torch backend runs weights only.",
            "Omit the backend, or give the name of a model, such as S.",
        )
    name, path, session, extension = open_weights(model, threads, device)
    weights = file_sha256(path)
    return reference_captioner(session, extension, name, model, weights)


def reference_captioner(
    session: TorchSession,
    extension: Extension = SHIPPED,
    name: str = "",
    model: str = "",
    weights: str | None = None,
) -> Captioner:
    """A runtime captioner around a network in memory; `weights`: SHA-256 of its file."""
    functions = {
        function: identity_names(name, function) for function in (*FUNCTIONS, DECODE_ATTENTION)
    }
    manifest = build_manifest(
        session.network.config,
        name=name,
        model=model,
        format="torch",
        precision="fp32",
        functions=functions,
        extension=extension,
        weights=weights,
    )
    tokenizer = Tokenizer(tokenizer_data(extension), TOKENIZER)
    return captioner_of(session, manifest, tokenizer, "torch", session.free_bytes, session.most)
