"""Functions of contract 2 as TFLite: one file, a signature per function over shared weights.

Batch 1, a phone's batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecap.bundle.schema2 import Function
from edgecap.core.lazy import require
from edgecap.core.scratch import scratch_dir
from edgecap.exporters.examples import example_inputs
from edgecap.exporters.tflite import folding, graph, passes
from edgecap.models.adapter import Adapter

FILE = "model.tflite"
BATCH: int | None = 1


PRECISIONS = ("fp32", "fp16", "w8")
# Whose weights become int8; a BATCH_MATMUL of a constant cannot be prepared that way.
_INT8 = ("FULLY_CONNECTED", "CONV_2D", "EMBEDDING_LOOKUP")


def export(adapter: Adapter, directory: Path, precision: str) -> dict[str, Function]:
    """Write every function of `adapter` as TFLite into `directory`; returns where each lies.

    `precision`: fp32; fp16, weights stored as float16; or w8, int8 weights by row and activations
    quantised by row as they come (ai-edge-quantizer's dynamic recipe).
    """
    litert_torch = require("litert_torch", "export")
    functions = adapter.functions()
    conversion: Any = litert_torch
    for function in functions:
        inputs = tuple(example_inputs(function, adapter.interface, 1).values())
        conversion = conversion.signature(function.name, function.module, inputs)
    with scratch_dir("edgecap-convert-") as scratch:
        path = scratch / FILE
        conversion.convert().export(str(path))
        if precision == "w8":
            _quantise(path)
        tree = graph.read(path.read_bytes())
    passes.finish(tree, {f.name: (tuple(f.inputs), tuple(f.outputs)) for f in functions})
    folding.fold_transposes(tree)
    if precision == "fp16":
        passes.halve(tree)
    passes.merge_buffers(tree)
    (directory / FILE).write_bytes(graph.write(tree))
    return {
        f.name: Function(FILE, f.name, {n: n for n in f.inputs}, {n: n for n in f.outputs})
        for f in functions
    }


def _quantise(path: Path) -> None:
    """Int8 weights, one scale per row, in place."""
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.qtyping import TFLOperationName

    tool = quantizer.Quantizer(str(path))
    for name in _INT8:
        tool.add_dynamic_config(
            regex=".*", operation_name=getattr(TFLOperationName, name), num_bits=8
        )
    result = tool.quantize()
    assert result.quantized_model is not None
    path.write_bytes(bytes(result.quantized_model))
