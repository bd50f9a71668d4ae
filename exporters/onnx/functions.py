"""Functions of contract 2 as ONNX: one graph per function, and one file of weights they share.

The weights are never all in memory: graphs are traced over shapes where the adapter has no more,
and each parameter is read, rewritten and written by itself. Only w8a8 needs them loaded, for its
calibration. The batch axis is dynamic.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecap.bundle.schema2 import Function
from edgecap.core.errors import UnsupportedError
from edgecap.core.formats import INT8_PRECISIONS
from edgecap.core.lazy import require
from edgecap.exporters.onnx import passes
from edgecap.exporters.onnx.convert import WEIGHTS
from edgecap.exporters.onnx.external import WeightsFile
from edgecap.exporters.onnx.parameters import Parameters
from edgecap.exporters.onnx.rewriting import Rewriter
from edgecap.exporters.onnx.storing import decide, uses
from edgecap.exporters.onnx.tracing import trace
from edgecap.exporters.rounded import Rounded, uncalibrated
from edgecap.models.adapter import Adapter
from edgecap.quant.plan import Plan

if TYPE_CHECKING:
    import onnx_ir as ir

BATCH: int | None = None
PRECISIONS = ("fp32", "fp16", "w8", "w8a8")
LARGE_CONSTANT = 64 << 10  # bytes; smaller ones stay in the graph


@dataclass(frozen=True)
class Traced:
    """The functions of an adapter as graphs, and where their parameters come from."""

    graphs: dict[str, ir.Model]
    parameters: Parameters
    plan: Plan  # of int8


def export(
    adapter: Adapter, directory: Path, precision: str, rounded: Rounded | None = None
) -> dict[str, Function]:
    """Write every function of `adapter` as ONNX into `directory`; returns where each lies.

    Args:
        adapter: of `registry.load`; built by `weightless.without_weights`, its parameters are
            read from the checkpoint's safetensors, else from memory.
        directory: of the bundle; gets one .onnx per function and one file of weights.
        precision: fp32; fp16, weights stored as float16; w8, weights stored as int8; or w8a8,
            layers in integers by the plan of `rounded`.
        rounded: needed by w8a8; None: as `uncalibrated`.

    Raises:
        UnsupportedError: another precision, or weights that it cannot hold.
        InputError: the checkpoint lacks a parameter.
    """
    if precision not in PRECISIONS or (precision == "w8a8" and rounded is None):
        raise UnsupportedError(
            "export.combination",
            f"ONNX is written as {', '.join(PRECISIONS)}, the last with a plan, "
            f"and {precision} is asked for.",
        )
    return write(convert(adapter, rounded), directory, precision)


def convert(adapter: Adapter, rounded: Rounded | None = None) -> Traced:
    """The graphs of every function, for any number of `write`s; errors as of `export`."""
    require("onnxscript", "export")
    rounded = rounded or uncalibrated(adapter)
    parameters = Parameters(rounded.subject.model, adapter.checkpoint)
    graphs = {f.name: trace(f, adapter.interface, parameters) for f in rounded.functions}
    return Traced(graphs, parameters, rounded.plan)


def write(traced: Traced, directory: Path, precision: str) -> dict[str, Function]:
    """Write graphs at one of `PRECISIONS`, and the weights that they share."""
    import onnx_ir as ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    parameters = traced.parameters
    graphs = {name: model.clone() for name, model in traced.graphs.items()}
    found = {name: list(uses(model.graph, parameters)) for name, model in graphs.items()}
    every = (use for each in found.values() for use in each)
    plan = traced.plan if precision in INT8_PRECISIONS else None
    storage = decide(every, parameters, precision, plan)
    places = {}
    with WeightsFile(directory / WEIGHTS, parameters) as file:
        for name, model in graphs.items():
            rewriter = Rewriter(model.graph, file, WEIGHTS, name, plan)
            for use in found[name]:
                rewriter.apply(use, storage[use.name])
            RemoveUnusedNodesPass()(model)
            rewriter.constants(LARGE_CONSTANT)
            proto = ir.to_proto(model)
            passes.clean(proto)
            (directory / f"{name}.onnx").write_bytes(proto.SerializeToString())
            ends = (model.graph.inputs, model.graph.outputs)
            inputs, outputs = ([str(value.name) for value in end] for end in ends)
            places[name] = Function(
                f"{name}.onnx", name, {n: n for n in inputs}, {n: n for n in outputs}
            )
    return places
