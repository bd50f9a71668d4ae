"""Rewriting ONNX graphs: weights in a narrower type, and all weights in one shared file.

Letters: K inputs, N outputs of a linear layer (ONNX stores [K,N]); V vocabulary, D width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecap.exporters.thresholds import TABLE_ELEMENTS, WIDE_ELEMENTS
from edgecap.exporters.treatment import SchemeLookup
from edgecap.quant.params import QuantParams
from edgecap.quant.plan import Activations
from edgecap.quant.rounding import rows

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

ALIGNMENT = 64  # bytes, of each tensor in the weights file


def clean(model: ModelProto) -> None:
    """Drop what only the tracer needs: stack traces (they hold paths), inferred shapes."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    del graph.value_info[:]
    graph.name = "main"


def halve(model: ModelProto) -> None:
    """Store large constants as float16 and cast them where they are used.

    A runtime folds the casts when it loads the file, so arithmetic stays float32 on a CPU; k, v
    and the logits keep their type, and no host needs to know.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or _elements(tensor) < WIDE_ELEMENTS:
            continue
        name, half = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.fp16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    replace_nodes(model, [*casts, *graph.node])


def quantise(model: ModelProto, function: str, treat: SchemeLookup) -> None:
    """Linear layers and large tables to int8, as `treat` says of each in this function.

    Standard operators only. The token table is stored [D,V], the layout of the output head, and
    looked up along its second axis: one tensor serves both.
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    inputs_done: set[str] = set()
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in constants:
            array = numpy_helper.to_array(constants[node.input[1]])
            how = treat.linear(array if _rows_first(node) else array.T, function)
            if how.kind == "fp32":
                nodes.append(node)
            elif how.kind == "w8f":
                nodes += _widened(node, constants)
            elif how.grids is None:
                nodes += _linear(node, constants, inputs_done)
            else:
                nodes += _static(node, constants, how.grids)
        elif node.op_type == "Gather" and _is_large(constants.get(node.input[0])):
            how = treat.table(numpy_helper.to_array(constants[node.input[0]]))
            nodes += [node] if how.kind == "fp32" else _lookup(node, constants)
        else:
            nodes.append(node)
    replace_nodes(model, nodes)
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants.values())
    prune(model)


def prune(model: ModelProto) -> None:
    """Drop constants that no node reads."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def share_weights(models: list[ModelProto], path: Path) -> None:
    """Move every constant of 1 KiB or more into the file `path`, equal ones once."""
    from onnx import TensorProto

    places: dict[bytes, tuple[int, int]] = {}  # content -> offset, length
    with path.open("wb") as file:
        for model in models:
            for tensor in model.graph.initializer:
                if len(tensor.raw_data) < 1024:
                    continue
                raw = tensor.raw_data
                digest = hashlib.sha256(raw).digest()
                if digest not in places:
                    file.write(b"\0" * (-file.tell() % ALIGNMENT))
                    places[digest] = (file.tell(), len(raw))
                    file.write(raw)
                offset, length = places[digest]
                tensor.ClearField("raw_data")
                tensor.data_location = TensorProto.EXTERNAL
                place = {"location": path.name, "offset": str(offset), "length": str(length)}
                for key, value in place.items():
                    tensor.external_data.add(key=key, value=value)


def _linear(
    node: NodeProto, constants: dict[str, TensorProto], inputs_done: set[str]
) -> Iterator[NodeProto]:
    """MatMul or Gemm of x [...,K] with a constant, as integers; x is rounded as it comes."""
    from onnx import TensorProto, helper

    x, out = node.input[0], node.output[0]
    weight, scale = _store(node.input[1], constants, "linear", _rows_first(node))
    if x not in inputs_done:
        inputs_done.add(x)
        yield helper.make_node("DynamicQuantizeLinear", [x], [f"{x}.q", f"{x}.scale", f"{x}.zero"])
    yield helper.make_node("MatMulInteger", [f"{x}.q", weight, f"{x}.zero"], [f"{out}.int"])
    yield helper.make_node("Cast", [f"{out}.int"], [f"{out}.float"], to=TensorProto.FLOAT)
    yield helper.make_node("Mul", [f"{x}.scale", scale], [f"{out}.scale"])  # [N]
    yield helper.make_node("Mul", [f"{out}.float", f"{out}.scale"], [out])  # [...,N]


def _widened(node: NodeProto, constants: dict[str, TensorProto]) -> Iterator[NodeProto]:
    """MatMul or Gemm of x [...,K] with a constant that is stored as int8; nothing else is."""
    from onnx import helper

    x, out = node.input[0], node.output[0]
    weight, scale = _store(node.input[1], constants, "linear", _rows_first(node))
    one = _constant("one", np.float32(1), constants)
    yield helper.make_node("DequantizeLinear", [weight, one], [f"{out}.w"])  # [K,N]
    yield helper.make_node("MatMul", [x, f"{out}.w"], [f"{out}.z"])  # [...,N]
    yield helper.make_node("Mul", [f"{out}.z", scale], [out])


def _static(
    node: NodeProto, constants: dict[str, TensorProto], grids: Activations
) -> Iterator[NodeProto]:
    """MatMul or Gemm of x [...,K] with a constant, between two fixed grids (the QDQ form).

    onnxruntime fuses the inner five nodes into one QLinearMatMul. Weights have scale 1 and the row
    scales [N] are multiplied onto the result: see edgecap.quant.plan. Activations are uint8 (the
    plan's int8 plus 128): x86 multiplies unsigned by signed bytes, and onnxruntime would rewrite
    int8 activations to this form.
    """
    from onnx import helper

    x, out = node.input[0], node.output[0]
    weight, scale = _store(node.input[1], constants, "linear", _rows_first(node))
    at_input = _grid(f"{out}.x", grids.input, constants)
    at_output = _grid(f"{out}.y", grids.output, constants)
    # A zero point of its own for every weight: onnxruntime renames them when it widens weights to
    # uint8 for processors without VNNI, and fails over a shared one.
    one = [_constant("one", np.float32(1), constants)]
    one.append(_constant(f"{weight}.zero", np.int8(0), constants))
    yield helper.make_node("QuantizeLinear", [x, *at_input], [f"{out}.x"])
    yield helper.make_node("DequantizeLinear", [f"{out}.x", *at_input], [f"{out}.a"])
    yield helper.make_node("DequantizeLinear", [weight, *one], [f"{out}.w"])  # [K,N]
    yield helper.make_node("MatMul", [f"{out}.a", f"{out}.w"], [f"{out}.z"])  # [...,N]
    yield helper.make_node("QuantizeLinear", [f"{out}.z", *at_output], [f"{out}.y"])
    yield helper.make_node("DequantizeLinear", [f"{out}.y", *at_output], [f"{out}.b"])
    yield helper.make_node("Mul", [f"{out}.b", scale], [out])


def _grid(name: str, grid: QuantParams, constants: dict[str, TensorProto]) -> list[str]:
    """Names of the scale and the unsigned zero point of a grid."""
    scale = _constant(f"{name}.scale", np.float32(grid.scale), constants)
    return [scale, _constant(f"{name}.zero", np.uint8(grid.zero_point + 128), constants)]


def _constant(name: str, value: np.generic, constants: dict[str, TensorProto]) -> str:
    from onnx import numpy_helper

    constants[name] = numpy_helper.from_array(np.asarray(value), name)
    return name


def _lookup(node: NodeProto, constants: dict[str, TensorProto]) -> Iterator[NodeProto]:
    """Gather of ids [B,T] from a table [V,D] that is now int8 [D,V] with a scale per column."""
    from onnx import TensorProto, helper, numpy_helper

    weight, scale = _store(node.input[0], constants, "table", rows_first=True)
    ids, out = node.input[1], node.output[0]
    last = f"{out}.last"
    constants[last] = numpy_helper.from_array(np.array([-1], np.int64), last)
    yield helper.make_node("Gather", [weight, ids], [f"{out}.q"], axis=1)  # [D,B,T]
    yield helper.make_node("Transpose", [f"{out}.q"], [f"{out}.int"], perm=[1, 2, 0])  # [B,T,D]
    yield helper.make_node("Cast", [f"{out}.int"], [f"{out}.float"], to=TensorProto.FLOAT)
    yield helper.make_node("Gather", [scale, ids], [f"{out}.scales"])  # [B,T]
    yield helper.make_node("Unsqueeze", [f"{out}.scales", last], [f"{out}.scale"])  # [B,T,1]
    yield helper.make_node("Mul", [f"{out}.float", f"{out}.scale"], [out])  # [B,T,D]


def _store(
    name: str, constants: dict[str, TensorProto], use: str, rows_first: bool
) -> tuple[str, str]:
    """Add the int8 [K,N] and the scales [N] of a constant, and return their names."""
    from onnx import numpy_helper

    weight, scale = f"{name}.{use}.int8", f"{name}.{use}.scale"
    if weight not in constants:
        array = numpy_helper.to_array(constants[name])
        quantised, scales = rows(array if rows_first else array.T)  # [N,K], [N]
        stored = np.ascontiguousarray(quantised.T)  # [K,N]
        constants[weight] = numpy_helper.from_array(stored, weight)
        constants[scale] = numpy_helper.from_array(scales, scale)
    return weight, scale


def _rows_first(node: NodeProto) -> bool:
    """Whether the constant of a MatMul or Gemm is [N,K] instead of [K,N]."""
    return any(a.name == "transB" and a.i for a in node.attribute)


def _is_large(tensor: TensorProto | None) -> bool:
    return tensor is not None and _elements(tensor) >= TABLE_ELEMENTS


def _elements(tensor: TensorProto) -> int:
    return int(np.prod(tensor.dims))


def replace_nodes(model: ModelProto, nodes: list[NodeProto]) -> None:
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
