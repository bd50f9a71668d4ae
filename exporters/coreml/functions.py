"""Functions of contract 2 as CoreML: one multifunction package for iOS 18 over shared weights.

Letters: B batch, h and w the image's height and width in px.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from edgecap.bundle.interface import ENCODE, Interface
from edgecap.bundle.schema2 import Function
from edgecap.core.lazy import require
from edgecap.core.scratch import scratch_dir
from edgecap.exporters.examples import example_inputs
from edgecap.models.adapter import Adapter, GraphFunction

FILE = "model.mlpackage"
BATCH: int | None = 1
_FLOAT_OUTPUTS = ("logits", "image_embedding", "text_embedding", "attention")  # apps read them


PRECISIONS = ("fp32", "fp16", "w8")


def export(adapter: Adapter, directory: Path, precision: str) -> dict[str, Function]:
    """Write every function of `adapter` as one ML program package; returns where each lies.

    `precision`: fp32; fp16, weights and arithmetic; or w8, int8 weights by row over float16.
    """
    functions, interface = adapter.functions(), adapter.interface
    coremltools = require("coremltools", "coreml")
    descriptor = coremltools.utils.MultiFunctionDescriptor()
    with scratch_dir("edgecap-convert-") as scratch:
        for function in functions:
            package = str(scratch / f"{function.name}.mlpackage")
            program = _program(function, interface, precision)
            if precision == "w8":
                program = _quantise(program)
            program.save(package)
            descriptor.add_function(
                package, src_function_name="main", target_function_name=function.name
            )
        descriptor.default_function_name = functions[0].name
        coremltools.utils.save_multifunction(descriptor, str(directory / FILE))
    return {
        f.name: Function(FILE, f.name, {n: n for n in f.inputs}, {n: n for n in f.outputs})
        for f in functions
    }


def _program(function: GraphFunction, interface: Interface, precision: str) -> Any:
    import coremltools as ct
    import numpy as np
    import torch

    half = np.float32 if precision == "fp32" else np.float16
    inputs = example_inputs(function, interface, 1)
    module = function.module
    if function.name == ENCODE:
        module = _from_planes(module)
        planes = inputs["image"].permute(0, 3, 1, 2).to(torch.float32).contiguous()  # [B,3,h,w]
        inputs = {"image": planes}
    with torch.no_grad():
        program = torch.export.export(module.eval(), tuple(inputs.values()), strict=False)
    program = program.run_decompositions({torch.ops.aten.gelu.default: _gelu})
    _drop_aliases(program)

    def described(name: str, example: Any) -> Any:
        if name == "image":
            layout = ct.colorlayout.RGB
            return ct.ImageType(name, shape=tuple(example.shape), color_layout=layout)
        kind = half if example.is_floating_point() else np.int32
        return ct.TensorType(name, tuple(example.shape), dtype=kind)

    return ct.convert(
        program,
        inputs=[described(name, example) for name, example in inputs.items()],
        outputs=[
            ct.TensorType(name, dtype=np.float32 if name in _FLOAT_OUTPUTS else half)
            for name in function.outputs
        ],
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT32 if precision == "fp32" else ct.precision.FLOAT16,
        skip_model_load=True,
    )


def _quantise(program: Any) -> Any:
    """Int8 weights, symmetric, one scale per row, of layers and tables."""
    from coremltools.optimize import coreml

    rows = coreml.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=512
    )
    kinds = dict.fromkeys(("linear", "conv", "gather"), rows)
    config = coreml.OptimizationConfig(op_type_configs=kinds)
    return coreml.linear_quantize_weights(program, config)


def _from_planes(encode: Any) -> Any:
    """encode of a pixel buffer: planes of 0 … 255, float [B,3,h,w]."""
    from torch import nn

    class FromPlanes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = encode

        def forward(self, image: Any) -> Any:
            return self.encode(image.permute(0, 2, 3, 1).contiguous())  # [B,h,w,3]

    return FromPlanes()


def _gelu(x: Any, approximate: str = "none") -> Any:
    """Both forms spelled out: coremltools 9 loses keyword arguments on its torch.export path."""
    import torch

    if approximate == "none":
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))


def _drop_aliases(program: Any) -> None:
    """coremltools 9 knows no `alias`, which run_decompositions leaves behind."""
    import torch

    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten.alias.default:
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    program.graph_module.recompile()
