"""TFLite: one file, a signature per function over one set of weights. Batch 1, a phone's batch.

`fp16` halves the stored weights, int8 quarters them. The inputs of int8 linear layers are rounded
row by row as they come, on the fixed grids of a plan, or not at all: see tflite_int8.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.bundle.manifest import Function as Place
from edgecap.core.formats import INT8_PRECISIONS
from edgecap.core.lazy import require
from edgecap.core.scratch import scratch_dir
from edgecap.exporters import contract, verify
from edgecap.exporters.contract import Function
from edgecap.exporters.spec import ExportSpec
from edgecap.exporters.tflite import folding
from edgecap.exporters.tflite import graph as tflite_graph
from edgecap.exporters.tflite import int8 as tflite_int8
from edgecap.exporters.tflite import passes as tflite_passes
from edgecap.exporters.tflite.kept_axes import keep_axes
from edgecap.exporters.tflite.layer_norm import centred_layer_norms
from edgecap.exporters.treatment import SchemeLookup, by
from edgecap.quant.plan import Plan
from edgecap.reference.quant import ReferenceSubject

if TYPE_CHECKING:
    from edgecap.reference.model.captioner import CaptionModel

FILE = "model.tflite"


def convert(functions: Sequence[Function], verified: bool = True) -> bytes:
    """Functions as one float32 .tflite file; GateError where one does not compute the same.

    `verified`: False where the caller compares what is written.
    """
    litert_torch = require("litert_torch", "export")
    conversion: Any = litert_torch
    for function in functions:
        examples = tuple(function.inputs.values())
        conversion = conversion.signature(function.name, function.module, examples)
    with scratch_dir("edgecap-convert-") as scratch:
        path = scratch / FILE
        with centred_layer_norms():
            conversion.convert().export(str(path))
        tree = tflite_graph.read(path.read_bytes())
    names = {f.name: (tuple(f.inputs), f.outputs) for f in functions}
    tflite_passes.finish(tree, names)
    folding.fold_transposes(tree)
    keep_axes(tree)
    data = tflite_graph.write(tree)
    for function in functions if verified else ():
        verify.verify_converted(function, verify.tflite_runner(data, function), "tflite")
    return data


def write(
    data: bytes, precision: str, directory: Path, treat: SchemeLookup | None
) -> dict[str, Place]:
    """Bring a float32 file to `precision` and write it; returns where each function lies.

    `treat` sets how each layer is rounded, where the precision is int8.
    """
    tree = tflite_graph.read(data)
    if precision == "fp16":
        tflite_passes.halve(tree)
    elif precision in INT8_PRECISIONS:
        assert treat is not None  # every int8 export has a plan
        tflite_int8.quantise(tree, treat)
    tflite_passes.drop_unused_tensors(tree)
    tflite_passes.merge_buffers(tree)
    (directory / FILE).write_bytes(tflite_graph.write(tree))
    found = {}
    for signature in tree.signatureDefs:
        name = signature.signatureKey.decode()
        inputs, outputs = (
            [entry.name.decode() for entry in entries]
            for entries in (signature.inputs, signature.outputs)
        )
        found[name] = contract.own_names(FILE, name, inputs, outputs)
    return found


def export(
    model: CaptionModel, spec: ExportSpec, directory: Path, plan: Plan | None = None
) -> dict[str, Place]:
    """Write `model` as TFLite into `directory`; returns where each function lies."""
    found = contract.functions(model, spec.attention, by_element=True, extend=spec.extend)
    data = convert(found)
    return write(data, spec.precision, directory, by(plan, ReferenceSubject(model)))
