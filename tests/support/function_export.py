"""The shortest way from graph functions to each format and its engine, to prove them convertible.

What a converter needs that others do not is all here: three changes for coremltools.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from host_loop import Run, random_inputs
from torch import Tensor, nn

from edgecap.bundle.interface import Interface
from edgecap.exporters.quiet import quiet
from edgecap.models.adapter import GraphFunction

Export = Callable[[Sequence[GraphFunction], Interface, Path], Run]


def examples(function: GraphFunction, interface: Interface, batch: int) -> tuple[Tensor, ...]:
    """Random inputs of a function, in its order."""
    inputs = random_inputs(interface, function.name, batch)
    return tuple(torch.from_numpy(value) for value in inputs.values())


def onnx(functions: Sequence[GraphFunction], interface: Interface, directory: Path) -> Run:
    """With onnxruntime, for a batch of any size."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    sessions = {}
    for function in functions:
        file = directory / f"{function.name}.onnx"
        file.write_bytes(_onnx(function, interface))
        sessions[function.name] = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )

    def run(name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        session: Any = sessions[name]
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, dict(inputs)), strict=True))

    return run


def _onnx(function: GraphFunction, interface: Interface) -> bytes:
    batch = {0: torch.export.Dim("B", min=1, max=1024)}
    named: list[Any] = [batch] * len(function.inputs)
    state = len(interface.state)
    if state and function.name == "decode":  # `*state` counts as one argument
        named = [*named[:-state], (batch,) * state]
    # torch's own code uses what torch deprecates.
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            function.module,
            examples(function, interface, 2),  # the tracer takes a size of 1 for a constant
            dynamo=True,
            verbose=False,
            opset_version=20,
            input_names=list(function.inputs),
            output_names=list(function.outputs),
            dynamic_shapes=tuple(named),
        )
    assert program is not None
    return program.model_proto.SerializeToString()


def tflite(functions: Sequence[GraphFunction], interface: Interface, directory: Path) -> Run:
    """With LiteRT, batch 1; a signature per function."""
    with quiet():
        import litert_torch
        from ai_edge_litert.interpreter import Interpreter

        conversion: Any = litert_torch
        for function in functions:
            example = examples(function, interface, 1)
            conversion = conversion.signature(function.name, function.module, example)
        file = str(directory / "model.tflite")
        conversion.convert().export(file)
        interpreter = Interpreter(file)
    by_name = {function.name: function for function in functions}

    def run(name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        function = by_name[name]
        given = {f"args_{i}": inputs[key] for i, key in enumerate(function.inputs)}
        made = interpreter.get_signature_runner(name)(**given)
        return {key: made[f"output_{i}"] for i, key in enumerate(function.outputs)}

    return run


def coreml(functions: Sequence[GraphFunction], interface: Interface, directory: Path) -> Run:
    """With edgecap's evaluator, float32, batch 1; a package per function."""
    from edgecap.mil.program import Program

    programs = {}
    for function in functions:
        package = str(directory / f"{function.name}.mlpackage")
        with quiet(), torch.no_grad():
            _coreml(function, interface).save(package)
        programs[function.name] = Program.open(package).function()

    def run(name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if "image" in inputs:
            inputs = {"image": inputs["image"].transpose(0, 3, 1, 2).astype(np.float32)}
        return programs[name].run(inputs)

    return run


class _FromPlanes(nn.Module):
    """encode of an image as CoreML has it: planes of 0 … 255, float [B,3,h,w]."""

    def __init__(self, encode: nn.Module) -> None:
        super().__init__()
        self.encode = encode

    def forward(self, image: Tensor) -> Any:
        return self.encode(image.permute(0, 2, 3, 1).contiguous())


def _coreml(function: GraphFunction, interface: Interface) -> Any:
    import coremltools as ct

    module, example = function.module, examples(function, interface, 1)
    if "image" in function.inputs:
        module = _FromPlanes(module)
        example = (example[0].permute(0, 3, 1, 2).to(torch.float32).contiguous(),)
    program = torch.export.export(module, example)
    program = program.run_decompositions({torch.ops.aten.gelu.default: _gelu})
    _drop_aliases(program)
    inputs = zip(function.inputs, example, strict=True)
    return ct.convert(
        program,
        inputs=[
            ct.TensorType(k, v.shape, dtype=np.float32 if v.is_floating_point() else np.int32)
            for k, v in inputs
        ],
        outputs=[ct.TensorType(name, dtype=np.float32) for name in function.outputs],
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )


def _gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """Both forms spelled out: coremltools 9 loses keyword arguments on its torch.export path."""
    if approximate == "none":
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))


def _drop_aliases(program: Any) -> None:
    """coremltools 9 knows no `alias`, which run_decompositions leaves behind."""
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten.alias.default:
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    program.graph_module.recompile()
