"""Functions of contract 2 as TFLite: one file, a signature per function over shared weights.

Batch 1, a phone's batch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecap.bundle.interface import Interface
from edgecap.bundle.schema2 import Function
from edgecap.core.lazy import require
from edgecap.exporters.examples import example_inputs
from edgecap.exporters.tflite import graph, passes
from edgecap.models.adapter import GraphFunction

FILE = "model.tflite"
BATCH: int | None = 1


def export(
    functions: Sequence[GraphFunction], interface: Interface, directory: Path, precision: str
) -> dict[str, Function]:
    """Write `functions` as TFLite into `directory`; returns where each lies.

    `precision`: fp32, or fp16 (weights stored as float16).
    """
    litert_torch = require("litert_torch", "export")
    conversion: Any = litert_torch
    for function in functions:
        inputs = tuple(example_inputs(function, interface, 1).values())
        conversion = conversion.signature(function.name, function.module, inputs)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / FILE
        conversion.convert().export(str(path))
        tree = graph.read(path.read_bytes())
    passes.finish(tree, {f.name: (tuple(f.inputs), tuple(f.outputs)) for f in functions})
    if precision == "fp16":
        passes.halve(tree)
    passes.merge_buffers(tree)
    (directory / FILE).write_bytes(graph.write(tree))
    return {
        f.name: Function(FILE, f.name, {n: n for n in f.inputs}, {n: n for n in f.outputs})
        for f in functions
    }
