"""CoreML: one .mlpackage, three functions over one set of weights. Batch 1, a phone's batch.

Made and checked on any machine: conversion needs no Mac, and edgecap.mil
evaluates the result. The image goes in as a pixel buffer. `fp16` computes in float16, which is
what the Neural Engine knows; int8 stores weights as int8 and computes in float16, with activations
on the grids of a plan where it names some; `fp32` is exact and runs on CPU and GPU. Before iOS 18 a
package holds one function, so there are three of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecap.bundle.interface import DECODE_STATEFUL, IMAGE_LENGTH
from edgecap.bundle.manifest import Function
from edgecap.bundle.schema1 import OPTIONAL_FUNCTIONS
from edgecap.core.errors import UnsupportedError
from edgecap.core.formats import INT8_PRECISIONS, STATIC_PRECISIONS
from edgecap.core.lazy import require
from edgecap.core.scratch import scratch_dir
from edgecap.exporters import contract, verify
from edgecap.exporters.coreml.options import CoremlOptions
from edgecap.exporters.spec import ExportSpec
from edgecap.quant.plan import Plan

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgecap.reference.model.captioner import CaptionModel

FILE = "model.mlpackage"


@dataclass(frozen=True)
class Wide:
    """Parameters that int8 leaves as they are, by the path of their module in the model."""

    paths: tuple[str, ...]
    least: int  # elements; smaller constants stay as they are
    everywhere: str = ""  # paths of this prefix are in every function


def _reference_wide(plan: Plan | None) -> Wide:
    """Of the reference captioner: what a plan keeps, and the table of positions."""
    layers = {} if plan is None else plan.layers
    kept = (name for name, layer in layers.items() if layer.kind == "fp32")
    return Wide(("text_position", *kept), 0, "blocks.")


# All others are state, which goes back in as it came out: float16 where the program computes so.
FLOAT_OUTPUTS = ("logits", "image_embedding", "text_embedding", "attention")
QUANTISED = ("linear", "conv", "gather")  # operations whose weights have int8 rows


def export(
    model: CaptionModel, spec: ExportSpec, directory: Path, plan: Plan | None = None
) -> dict[str, Function]:
    """Write `model` as CoreML into `directory`; returns where each function lies."""
    functions = _reference(model, spec, plan)
    target = _options(spec).target
    wide = _reference_wide(plan) if spec.precision in INT8_PRECISIONS else None
    programs = convert(functions, spec.precision, target, model.config.vocabulary, wide)
    if not _options(spec).multifunction:
        for name, program in programs.items():
            program.save(str(directory / f"{name}.mlpackage"))
        alone = {
            f.name: contract.own_names(f"{f.name}.mlpackage", f.name, f.inputs, f.outputs)
            for f in functions
        }
        return {name: replace(function, entry="main") for name, function in alone.items()}
    return save(programs, functions, directory)


def save(
    programs: dict[str, Any], functions: Sequence[contract.Function], directory: Path
) -> dict[str, Function]:
    """Write programs as one package of several functions over shared weights."""
    coremltools = require("coremltools", "coreml")
    with scratch_dir("edgecap-convert-") as scratch:
        merged = coremltools.utils.MultiFunctionDescriptor()
        for name, program in programs.items():
            path = str(scratch / f"{name}.mlpackage")
            program.save(path)
            merged.add_function(path, src_function_name="main", target_function_name=name)
        merged.default_function_name = next(iter(programs))
        coremltools.utils.save_multifunction(merged, str(directory / FILE))
    put = {f.name: f for f in functions}
    return {
        name: contract.own_names(FILE, name, put[name].inputs, put[name].outputs)
        for name in programs
    }


def convert(
    functions: Sequence[contract.Function],
    precision: str,
    target: str,
    vocabulary: int | None,
    wide: Wide | None = None,
    verified: bool = True,
) -> dict[str, Any]:
    """Every function as an ML program of its own (coremltools MLModel), by name.

    Args:
        functions: float, or with a plan's grids marked in them (edgecap.quant.qdq).
        precision: fp32, fp16 or one of int8.
        target: the oldest system, as coremltools calls it.
        vocabulary: rows of the word table, which stays float32.
        wide: of int8: the parameters that stay as they are.
        verified: False where the caller compares what is written.

    Raises GateError where a program does not compute the same.
    """
    to = _Converter(precision, target, vocabulary)
    programs = {}
    for function in functions:
        programs[function.name] = program = to.program(function)
        if verified:
            static = precision in STATIC_PRECISIONS
            bound = "coreml static" if static else "coreml half" if to.half else "coreml"
            verify.verify_converted(function, verify.coreml_runner(program, function), bound)
    if wide is None:
        return programs
    return {name: _quantise(one, _wide(one, wide)) for name, one in programs.items()}


def _reference(
    model: CaptionModel, spec: ExportSpec, plan: Plan | None = None
) -> tuple[contract.Function, ...]:
    """The functions of the reference captioner, its stateful step among them where requested."""
    if plan is not None:
        from edgecap.reference.quant import insert_qdq

        model = insert_qdq(model, plan)
    found = contract.functions(model, spec.attention)
    if not _options(spec).stateful:
        return found
    from edgecap.reference.model.stateful import StatefulDecode
    from edgecap.reference.quant import run_as

    names, outputs = OPTIONAL_FUNCTIONS[DECODE_STATEFUL]
    decode = next(f for f in found if f.name == "decode")
    token, position, k, v = decode.inputs.values()
    P = model.config.patches
    rows = (token, position, k[:, :, :, :P], v[:, :, :, :P])
    module = StatefulDecode(model)
    run_as(module, model, "decode")
    inputs = dict(zip(names, rows, strict=True))
    stateful = contract.Function(DECODE_STATEFUL, module, inputs, outputs, {}, decode.limits)
    return (*found, stateful)


def _options(spec: ExportSpec) -> CoremlOptions:
    return CoremlOptions() if spec.options is None else spec.options


def _from_planes(module: nn.Module) -> nn.Module:
    """The function of a pixel buffer, float [B,3,h,w] of 0 … 255, instead of uint8 [B,h,w,3]."""
    from torch import nn

    class FromPlanes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = module

        def forward(self, image: Tensor) -> Any:
            return self.encode(image.permute(0, 2, 3, 1).contiguous())  # [B,h,w,3]

    return FromPlanes()


class _Converter:
    """coremltools set to one precision and one target.

    The token table stays float32 where the rest is float16: scores near 16 lie 1/128 apart in
    float16, and that decided one word in 700 otherwise. It is looked up in and multiplied with in
    one type, so that it is stored once.
    """

    def __init__(self, precision: str, target: str, vocabulary: int | None) -> None:
        self.tools = require("coremltools", "coreml")
        self.half = precision != "fp32"

        def halved(operation: Any) -> bool:
            table = {"linear": "weight", "gather": "x"}.get(operation.op_type)
            return table is None or operation.inputs[table].shape[0] != vocabulary

        half = self.tools.transform.FP16ComputePrecision(op_selector=halved)
        self.compute = half if self.half else self.tools.precision.FLOAT32
        self.target = getattr(self.tools.target, target)

    def program(self, function: contract.Function) -> Any:
        import torch

        module, inputs = function.module, dict(function.inputs)
        if "image" in inputs:  # a pixel buffer comes as planes of 0 … 255
            module = _from_planes(module)
            inputs["image"] = torch.zeros(1, 3, *inputs["image"].shape[1:3])  # [B,3,h,w]
        with torch.no_grad():
            traced = torch.export.export(module.eval(), tuple(inputs.values()), strict=False)
        lowered = traced.run_decompositions({torch.ops.aten.gelu.default: _gelu})
        _drop_aliases(lowered)
        states = function.module.named_buffers() if function.name == DECODE_STATEFUL else ()
        return self.tools.convert(
            lowered,
            inputs=[self._input(name, example) for name, example in inputs.items()],
            outputs=[self._output(name) for name in function.outputs],
            states=[self._state(name, rows) for name, rows in states] or None,
            minimum_deployment_target=self.target,
            compute_precision=self.compute,
            skip_model_load=True,
        )

    def _input(self, name: str, example: Tensor) -> Any:
        if name == "image":
            return self.tools.ImageType(
                name, shape=tuple(example.shape), color_layout=self.tools.colorlayout.RGB
            )
        if not example.is_floating_point():
            return self.tools.TensorType(name, tuple(example.shape), dtype=np.int32)
        return self.tools.TensorType(name, tuple(example.shape), dtype=self._float(half=True))

    def _output(self, name: str) -> Any:
        if name == IMAGE_LENGTH:  # float16 would round it
            return self.tools.TensorType(name, dtype=np.int32)
        return self.tools.TensorType(name, dtype=self._float(half=name not in FLOAT_OUTPUTS))

    def _state(self, name: str, rows: Tensor) -> Any:
        kind = self.tools.TensorType(shape=tuple(rows.shape), dtype=np.float16)
        return self.tools.StateType(wrapped_type=kind, name=name)

    def _float(self, half: bool) -> type[np.floating]:
        return np.float16 if half and self.half else np.float32


def _gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """GELU in both of its forms, spelled as coremltools fuses each into one operation.

    coremltools 9 loses keyword arguments on its torch.export path and would take the exact form
    for both.
    """
    import torch

    if approximate == "none":
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))


def _drop_aliases(program: Any) -> None:
    """Remove aten.alias, which coremltools 9 does not know and decomposing leaves behind."""
    import torch

    graph = program.graph
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target is torch.ops.aten.alias.default:
            node.replace_all_uses_with(node.args[0])
            program.graph_signature.replace_all_uses(node.name, node.args[0].name)
            graph.erase_node(node)
    program.graph_module.recompile()


def _wide(program: Any, wide: Wide) -> tuple[list[str], int]:
    """The constants of a program that are not quantised, by the names that coremltools gives them.

    They end in the path from the module that was converted. Raises UnsupportedError where a layer
    that every function has shows no such constant: coremltools would quantise it without a word.
    """
    operations = program._mil_program.functions["main"].operations
    constants = [operation.name for operation in operations if operation.op_type == "const"]
    found = []
    for path in wide.paths:
        ending = f"_model_{path.replace('.', '_')}_weight"
        names = [name for name in constants if name.removesuffix("_to_fp16").endswith(ending)]
        if not names and wide.everywhere and path.startswith(wide.everywhere):
            raise UnsupportedError(
                "plan.weights_changed",
                f"the converter renamed the weights of {path}, which the plan keeps wider.",
                "Export with a plan that keeps no layer, or with --precision fp16.",
            )
        found += names
    return [*found, *_shared_vectors(operations)], wide.least


def _shared_vectors(operations: Any) -> list[str]:
    """Constant vectors that operations of both kinds read, those with int8 rows and others.

    coremltools 9 stores equal constants once and refuses to quantise where such readers meet: a
    layer's bias that equals a norm's, as both do before training. No vector has rows to quantise.
    """
    return [
        operation.name
        for operation in operations
        if operation.op_type == "const"
        and len(getattr(operation.outputs[0], "shape", ())) == 1
        and len({c.op_type in QUANTISED for c in operation.outputs[0].child_ops}) == 2
    ]


def _quantise(program: Any, wide: tuple[list[str], int]) -> Any:
    """Int8 weights, symmetric, one scale per row: the rounding of rounding.rows, in float16."""
    from coremltools.optimize import coreml

    names, least = wide
    rows = coreml.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=least
    )
    config = coreml.OptimizationConfig(
        op_type_configs=dict.fromkeys(QUANTISED, rows),
        op_name_configs=dict.fromkeys(names),
    )
    return coreml.linear_quantize_weights(program, config)
