"""What an export will write and need, from the headers of a checkpoint's safetensors alone.

No tensor is read and torch is not imported, so that a dry run answers at once. Which layer reads a
tensor is not in a header: matrices and convolution kernels are taken for such, unless their names
say that they are positions or are cut into pieces by the graph.

Letters: N rows, the first axis of a tensor.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgecap.core.errors import UnsupportedError
from edgecap.core.formats import STATIC_PRECISIONS
from edgecap.exporters.thresholds import TABLE_ELEMENTS, WIDE_ELEMENTS
from edgecap.models.checkpoint import Checkpoint, read_header

# Kept as float32 at int8: added, gathered in bulk or split, and small. Tables that a step looks one
# row up in are int8.
FLOAT = re.compile(
    r"position(?!_embeddings\.weight)|relative|in_proj_weight|latent_query|cls_token|class_embedding"
)
GRAPH_BYTES = 700  # of a graph's nodes and names, per tensor
GIB = 1 << 30


@dataclass(frozen=True)
class Need:
    """Memory of an exporting process: what its packages take, and how often it holds weights."""

    base: float  # GiB
    weights: float  # of the float32 weights' size


# Of `edgecap export --no-verify`. Measured: onnx fp32 on a BLIP of 116 M parameters (1.49 GiB) and
# one of 9 M (0.61); tflite on that of 9 M (0.95); tflite fp32, coreml fp32 and fp16 on BLIP-base,
# without the comparison of functions. The others are guesses: the format's widest measured one.
MEMORY: dict[str, dict[str, Need]] = {
    # The writer holds a block of the weights at a time; comparing functions holds them twice.
    "onnx": {name: Need(0.6, 2.1) for name in ("fp32", "fp16", "w8")}
    # Calibrated in PyTorch, with a smoothed copy of the layers behind norms.
    | dict.fromkeys(STATIC_PRECISIONS, Need(0.75, 3.2)),
    # One flatbuffer, built several times over.
    "tflite": {name: Need(0.8, 5.0) for name in ("fp32", "fp16", "w8")}
    | dict.fromkeys(STATIC_PRECISIONS, Need(0.8, 6.0)),
    "coreml": {
        "fp32": Need(0.8, 1.1),
        "fp16": Need(0.8, 2.1),
        "w8": Need(0.8, 2.1),
        **dict.fromkeys(STATIC_PRECISIONS, Need(0.8, 3.3)),
    },
}


# Bytes of a model for each byte of the reference's float16 weights file.
_REFERENCE = {"fp32": 2.0, "fp16": 1.0, "w8": 0.55, "w8a8": 0.55, "mixed": 1.0}
_COREML_FP16 = 1.16  # the token table stays float32
# Files that a converter writes on the way, of the float32 weights' size.
SCRATCH = {"onnx": 0.0, "tflite": 1.0, "coreml": 2.0}


@dataclass(frozen=True)
class Estimate:
    """What is expected of an export."""

    size: int  # bytes of the model files
    memory: int  # bytes, the most that the exporting process holds
    scratch: int  # bytes of temporary files

    def places(self, output: Path) -> Iterator[tuple[Path, int]]:
        """Where how many bytes are written: the bundle, and temporary files."""
        yield output, self.size
        yield Path(tempfile.gettempdir()), self.scratch


def reference_size(weights: int, format_: str, precision: str) -> int:
    """Bytes of the reference's model files; `weights`: bytes of its float16 weights file."""
    if (format_, precision) == ("coreml", "fp16"):
        return int(weights * _COREML_FP16)
    return int(weights * _REFERENCE.get(precision, _REFERENCE["w8a8"]))


def estimate(checkpoint: Checkpoint, format_: str, precision: str) -> Estimate:
    """Size and memory of exporting `checkpoint`; memory without the verification against PyTorch.

    Raises:
        InputError: a weights file is not whole.
        UnsupportedError: the format has no such precision for checkpoints.
    """
    needs = MEMORY[format_]
    if precision not in needs:
        raise UnsupportedError(
            "export.combination",
            f"no estimate for {format_} at {precision}; known: {', '.join(needs)}.",
        )
    tensors = list(_tensors(checkpoint))
    written = sum(stored_bytes(name, shape, precision) for name, shape in tensors)
    floats = 4 * sum(math.prod(shape) for _, shape in tensors)
    need = needs[precision]
    memory = int(need.base * GIB + need.weights * floats)
    scratch = int(SCRATCH[format_] * floats)
    return Estimate(written + GRAPH_BYTES * len(tensors), memory, scratch)


def stored_bytes(name: str, shape: tuple[int, ...], precision: str) -> int:
    """Bytes of one tensor as it is written; a search for a mixed plan ends at the size of fp16."""
    elements = math.prod(shape)
    if precision in ("fp16", "mixed") and elements >= WIDE_ELEMENTS:
        return 2 * elements
    if precision in ("w8", "w8a8") and _rounded(name, shape):
        return elements + 4 * shape[0]  # and a scale per row
    return 4 * elements


def _rounded(name: str, shape: tuple[int, ...]) -> bool:
    if len(shape) not in (2, 4) or FLOAT.search(name):
        return False
    return not (name.endswith("embeddings.weight") and math.prod(shape) < TABLE_ELEMENTS)


def _tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, tuple[int, ...]]]:
    for file in checkpoint.weights:
        for name, entry in read_header(file).items():
            if name != "__metadata__":
                yield name, tuple(entry["shape"])
