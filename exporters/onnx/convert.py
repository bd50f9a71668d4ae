"""ONNX: one graph per function, and one file of weights that all share.

The weights are never all in memory: graphs are traced over shapes where a model has no more, and
each parameter is read, rewritten and written by itself. The batch axis is dynamic; hosts must
leave it at 1 where layers round by a scale of the whole call (`dynamic` in core.formats). `fp16`
halves the stored weights; int8 quarters them with standard operators, by a plan (storing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecap.bundle.manifest import Function
from edgecap.core.formats import FORMATS, INT8_PRECISIONS
from edgecap.core.lazy import require
from edgecap.core.scratch import scratch_dir
from edgecap.exporters import contract, verify
from edgecap.exporters.onnx.external import WeightsFile
from edgecap.exporters.onnx.parameters import Parameters
from edgecap.exporters.onnx.rewriting import Rewriter
from edgecap.exporters.onnx.storing import decide, uses
from edgecap.exporters.onnx.tracing import clean, trace
from edgecap.exporters.spec import ExportSpec
from edgecap.quant.plan import Plan

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecap.reference.model.captioner import CaptionModel

WEIGHTS = "weights.bin"
LARGE_CONSTANT = 64 << 10  # bytes; smaller ones stay in the graph


@dataclass(frozen=True)
class Traced:
    """Functions as graphs, and where their parameters come from."""

    graphs: dict[str, ir.Model]
    parameters: Parameters


def convert(
    functions: Sequence[contract.Function], parameters: Parameters, verified: bool = True
) -> Traced:
    """The graphs of functions of one model, for any number of `write`s.

    `verified`: False where the caller compares what is written. Raises GateError where a graph does
    not compute the same.
    """
    require("onnxscript", "export")
    traced = Traced({f.name: trace(f, parameters) for f in functions}, parameters)
    if verified:
        with scratch_dir("edgecap-convert-") as scratch:
            write(traced, "fp32", scratch)
            for function in functions:
                run = verify.onnx_runner(scratch / f"{function.name}.onnx", function)
                verify.verify_converted(function, run, "onnx")
    return traced


def write(
    traced: Traced, precision: str, directory: Path, plan: Plan | None = None
) -> dict[str, Function]:
    """Write graphs at a precision, and the weights that they share; returns where each lies.

    `plan` sets how each layer is rounded, where the precision is int8.
    """
    import onnx_ir as ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    plan = plan if precision in INT8_PRECISIONS else None
    parameters = traced.parameters
    graphs = {name: model.clone() for name, model in traced.graphs.items()}
    found = {name: list(uses(model.graph, parameters)) for name, model in graphs.items()}
    alone = FORMATS["onnx"].batch_at(precision) == 1
    every = (use for each in found.values() for use in each)
    storage = decide(every, parameters, precision, plan)
    places = {}
    with WeightsFile(directory / WEIGHTS, parameters) as file:
        for name, model in graphs.items():
            rewriter = Rewriter(model.graph, file, WEIGHTS, name, plan, alone)
            for use in found[name]:
                rewriter.apply(use, storage[use.name])
            RemoveUnusedNodesPass()(model)
            rewriter.constants(LARGE_CONSTANT)
            proto = ir.to_proto(model)
            clean(proto)
            (directory / f"{name}.onnx").write_bytes(proto.SerializeToString())
            inputs, outputs = model.graph.inputs, model.graph.outputs
            places[name] = contract.own_names(
                f"{name}.onnx", name, (str(i.name) for i in inputs), (str(o.name) for o in outputs)
            )
    return places


def export(
    model: CaptionModel, spec: ExportSpec, directory: Path, plan: Plan | None = None
) -> dict[str, Function]:
    """Write `model` as ONNX into `directory`; returns where each function lies."""
    found = contract.functions(model, spec.attention, by_element=False, extend=spec.extend)
    traced = convert(found, Parameters(model))
    return write(traced, spec.precision, directory, plan)
