"""Exports that went wrong on purpose: what a converter, a quantiser or a disk may do to a graph.

Each takes a float32 ONNX graph of a bundle and damages it. The result still runs, with outputs of
the right shapes and types.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

MANTISSA = 1e-4  # undoes what `overflow` multiplied


def overflow(graph: ModelProto) -> None:
    """A value that float32 holds and float16 does not: beyond 65504 it becomes infinity."""
    name = _linear(graph).output[0]
    big, half, back = f"{name}_big", f"{name}_half", f"{name}_back"
    _behind(
        graph,
        name,
        lambda source, target: [
            helper.make_node("Mul", [source, _constant(graph, 1 / MANTISSA)], [big]),
            helper.make_node("Cast", [big], [half], to=onnx.TensorProto.FLOAT16),
            helper.make_node("Cast", [half], [back], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [back, _constant(graph, MANTISSA)], [target]),
        ],
    )


def outlier_channel(graph: ModelProto) -> None:
    """One channel a hundred times the others, rounded to int8 by the scale of the whole tensor."""
    weight = _weight(graph)
    values = _values(weight)  # f32 [in,out]
    scales = np.ones(values.shape[1], np.float32)
    scales[0] = 100 * np.abs(values).max() / max(np.abs(values[:, 0]).max(), 1e-6)
    step = np.abs(values * scales).max() / 127
    _replace(weight, np.round(values * scales / step) * step / scales)


def wrong_axis(graph: ModelProto) -> None:
    """Rounded to int8 by a scale per column, multiplied on by a scale per row."""
    weight = _weight(graph)
    values = _values(weight)  # f32 [in,out]
    columns = np.abs(values).max(0) / 127  # [out]
    rows = np.resize(np.abs(values).max(1) / 127, len(values))  # [in]
    _replace(weight, np.round(values / columns) * rows[:, None])


def biased_token(graph: ModelProto) -> None:
    """One token of the vocabulary is more likely at every step."""
    (logits,) = (put for put in graph.graph.output if put.name == "logits")
    bias = np.zeros(logits.type.tensor_type.shape.dim[1].dim_value or 1, np.float32)  # [V]
    bias[min(942, len(bias) - 1)] = 30.0
    _behind(
        graph,
        "logits",
        lambda source, target: [
            helper.make_node("Add", [source, _constant(graph, bias)], [target])
        ],
    )


def constant_encoder(graph: ModelProto) -> None:
    """The same answer for every image."""
    blind = helper.make_node("Sub", ["image", "image"], ["image_blind"])
    for node in graph.graph.node:
        node.input[:] = ["image_blind" if name == "image" else name for name in node.input]
    graph.graph.node.insert(0, blind)


def empty_tail(file: Path) -> None:
    """The right size, and only the first half of the bytes: what a copy that broke off leaves."""
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


# What went wrong -> the function of the contract it is done to, and the damage.
GALLERY: dict[str, tuple[str, Callable[[ModelProto], None]]] = {
    "overflow in float16": ("decode", overflow),
    "an outlier channel": ("encode_image", outlier_channel),
    "scales on the wrong axis": ("decode", wrong_axis),
    "one biased token": ("decode", biased_token),
    "a constant encoder": ("encode_image", constant_encoder),
}


def doctor(directory: Path, damage: str) -> None:
    """Damage the graph of a bundle directory in place; its weights move into the graph's file."""
    function, change = GALLERY[damage]
    file = directory / f"{function}.onnx"
    graph = onnx.load(str(file))  # with its external data
    change(graph)
    onnx.checker.check_model(graph)
    file.write_bytes(graph.SerializeToString())


def _linear(graph: ModelProto) -> NodeProto:
    """The last product with a matrix of weights."""
    constants = {tensor.name for tensor in graph.graph.initializer if len(tensor.dims) == 2}
    found = [
        node
        for node in graph.graph.node
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in constants
    ]
    return found[-1]


def _weight(graph: ModelProto) -> onnx.TensorProto:
    name = _linear(graph).input[1]
    return next(tensor for tensor in graph.graph.initializer if tensor.name == name)


def _values(tensor: onnx.TensorProto) -> np.ndarray:
    return numpy_helper.to_array(tensor).astype(np.float32)


def _replace(tensor: onnx.TensorProto, values: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


def _constant(graph: ModelProto, value: float | np.ndarray) -> str:
    name = f"doctored_{len(graph.graph.initializer)}"
    array = np.asarray(value, np.float32)
    graph.graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def _behind(graph: ModelProto, name: str, make: Callable[[str, str], list[NodeProto]]) -> None:
    """Put nodes between the tensor `name` and all who read it."""
    nodes = list(graph.graph.node)
    place = next(i for i, node in enumerate(nodes) if name in node.output)
    nodes[place].output[:] = [f"{o}_real" if o == name else o for o in nodes[place].output]
    for node in reversed(make(f"{name}_real", name)):
        graph.graph.node.insert(place + 1, node)
