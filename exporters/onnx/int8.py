"""Linear layers, convolutions and tables of an ONNX graph as int8, by standard operators only.

A layer is what multiplies with a constant: MatMul, Gemm, Conv and Gather. What stands around the
product stays float and is carried over as it is: Gemm's alpha, beta, C and transposed input; the
Add of a bias behind a MatMul is a node of its own that nobody touches. A bias is added behind the
scales of the rows, in float: within the grid of an output it would take the steps of rows whose
weights are small.

Letters: K inputs, N outputs of a linear layer (ONNX stores [K,N]); V vocabulary, D width;
O outputs, I inputs, y x x the kernel of a convolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgecap.core.errors import UnsupportedError
from edgecap.exporters.onnx.passes import prune, replace_nodes
from edgecap.exporters.treatment import SchemeLookup, WeightScheme
from edgecap.quant.params import QuantParams
from edgecap.quant.plan import Activations
from edgecap.quant.rounding import rows

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_GEMM = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}


def quantise(model: ModelProto, function: str, treat: SchemeLookup) -> None:
    """Every layer to int8, as `treat` says of each in this function.

    A word table is stored [D,V], the layout of an output head, and looked up along its second
    axis: where the two are tied, one tensor serves both.

    Raises UnsupportedError where a layer has a form that int8 would not carry over.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    graph = _Graph(constants, function, treat, _ranks(model))
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        rewrite = {"MatMul": _matmul, "Gemm": _gemm, "Conv": _conv, "Gather": _gather}
        nodes += rewrite.get(node.op_type, _as_it_is)(node, graph)
    replace_nodes(model, nodes)
    del model.graph.initializer[:]
    model.graph.initializer.extend(graph.constants.values())
    prune(model)


class _Graph:
    """The constants of one function on their way to int8, each stored once."""

    def __init__(
        self,
        constants: dict[str, TensorProto],
        function: str,
        treat: SchemeLookup,
        ranks: dict[str, int],
    ) -> None:
        self.constants = constants
        self.ranks = ranks
        self.function = function
        self.treat = treat
        self.inputs_done: set[str] = set()

    def array(self, name: str) -> np.ndarray | None:
        """The value of a float32 constant; None for any other tensor."""
        from onnx import TensorProto, numpy_helper

        tensor = self.constants.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT:
            return None
        return numpy_helper.to_array(tensor)

    def add(self, name: str, value: np.ndarray | np.generic) -> str:
        """A new constant, once; returns its name."""
        from onnx import numpy_helper

        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def store(self, name: str, use: str, rows_first: bool) -> tuple[str, str]:
        """Names of the int8 [K,N] and the scales [N] of a constant."""
        weight, scale = f"{name}.{use}.int8", f"{name}.{use}.scale"
        if weight not in self.constants:
            array = self.array(name)
            assert array is not None  # asked before
            quantised, scales = rows(array if rows_first else array.T)  # [N,K], [N]
            self.add(weight, np.ascontiguousarray(quantised.T))  # [K,N]
            self.add(scale, scales)
        return weight, scale


@dataclass(frozen=True)
class _Product:
    """x [...,K] times a constant, to `out` [...,N]."""

    x: str
    weight: str
    rows_first: bool  # the constant is [N,K] instead of [K,N]
    out: str


def _ranks(model: ModelProto) -> dict[str, int]:
    """How many axes the inputs have, also behind a Cast."""
    ranks = {i.name: len(i.type.tensor_type.shape.dim) for i in model.graph.input}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in ranks:
            ranks[node.output[0]] = ranks[node.input[0]]
    return ranks


def _as_it_is(node: NodeProto, graph: _Graph) -> Iterator[NodeProto]:
    yield node


def _matmul(node: NodeProto, graph: _Graph) -> Iterator[NodeProto]:
    weight = graph.array(node.input[1])
    if weight is None or weight.ndim != 2:  # attention, or a product of constants per head
        yield node
        return
    how = graph.treat.linear(weight.T, graph.function, node.input[1])
    if how.kind == "fp32":
        yield node
    else:
        product = _Product(node.input[0], node.input[1], False, node.output[0])
        yield from _multiply(product, how, graph)


def _gemm(node: NodeProto, graph: _Graph) -> Iterator[NodeProto]:
    """alpha * A' @ B' + beta * C with a constant B: the product as int8, the rest in float."""
    from onnx import helper

    weight = graph.array(node.input[1])
    if weight is None:
        yield node
        return
    said = _GEMM | {a.name: helper.get_attribute_value(a) for a in node.attribute}
    rows_first = bool(said["transB"])
    how = graph.treat.linear(weight if rows_first else weight.T, graph.function, node.input[1])
    if how.kind == "fp32":
        yield node
        return
    x, out = node.input[0], node.output[0]
    if said["transA"]:
        yield helper.make_node("Transpose", [x], [f"{out}.turned"], perm=[1, 0])
        x = f"{out}.turned"
    added = len(node.input) > 2 and node.input[2] != ""
    scaled = said["alpha"] != 1
    product = f"{out}.product" if added or scaled else out  # [M,N]
    yield from _multiply(_Product(x, node.input[1], rows_first, product), how, graph)
    if scaled:
        alpha = graph.add(f"{out}.alpha", np.float32(said["alpha"]))
        product, before = (f"{out}.scaled" if added else out), product
        yield helper.make_node("Mul", [before, alpha], [product])
    if added:
        bias = node.input[2]
        if said["beta"] != 1:
            beta = graph.add(f"{out}.beta", np.float32(said["beta"]))
            yield helper.make_node("Mul", [bias, beta], [f"{out}.bias"])
            bias = f"{out}.bias"
        yield helper.make_node("Add", [product, bias], [out])


def _conv(node: NodeProto, graph: _Graph) -> Iterator[NodeProto]:
    """A convolution with int8 weights that are widened before they are used, bias and all."""
    from onnx import helper

    weight = graph.array(node.input[1])  # [O,I,y,x]
    if weight is None:
        yield node
        return
    flat = weight.reshape(len(weight), -1)  # [O,I*y*x]
    how = graph.treat.linear(flat, graph.function, node.input[1])
    if how.kind == "fp32":
        yield node
        return
    if how.kind != "w8_dequant":
        raise UnsupportedError(
            "plan.kind",
            f"{graph.function} has a convolution {node.input[1]}, which the plan makes {how.kind}; "
            "a convolution can be w8_dequant or fp32.",
        )
    quantised, scales = rows(flat)  # [O,I*y*x], [O]
    wide = f"{node.output[0]}.w"
    stored = graph.add(f"{node.input[1]}.conv.int8", quantised.reshape(weight.shape))
    scale = graph.add(f"{node.input[1]}.conv.scale", scales)
    yield helper.make_node("DequantizeLinear", [stored, scale], [wide], axis=0)
    node.input[1] = wide
    yield node


def _gather(node: NodeProto, graph: _Graph) -> Iterator[NodeProto]:
    """Ids [B,T] into a table [V,D] that is now int8 [D,V] with a scale per column."""
    from onnx import TensorProto, helper

    table = graph.array(node.input[0])
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    if table is None or table.ndim != 2 or axis != 0:
        yield node
        return
    if graph.treat.table(table, node.input[0]).kind == "fp32":
        yield node
        return
    weight, scale = graph.store(node.input[0], "table", rows_first=True)
    ids, out = node.input[1], node.output[0]
    last = graph.add(f"{out}.last", np.array([-1], np.int64))
    rank = graph.ranks.get(ids)
    result = out
    if rank is None:  # no transposition of what has unknown axes
        shape = graph.add(f"{out}.width", np.array([table.shape[1]], np.int64))  # [D]
        yield helper.make_node("Shape", [ids], [f"{out}.rows"])
        yield helper.make_node("Concat", [f"{out}.rows", shape], [f"{out}.shape"], axis=0)
        yield helper.make_node("Reshape", [ids, last], [f"{out}.ids"])  # [n]
        ids, rank, result = f"{out}.ids", 1, f"{out}.words"
    turn = [*range(1, rank + 1), 0]
    yield helper.make_node("Gather", [weight, ids], [f"{out}.q"], axis=1)  # [D,B,T]
    yield helper.make_node("Transpose", [f"{out}.q"], [f"{out}.int"], perm=turn)  # [B,T,D]
    yield helper.make_node("Cast", [f"{out}.int"], [f"{out}.float"], to=TensorProto.FLOAT)
    yield helper.make_node("Gather", [scale, ids], [f"{out}.scales"])  # [B,T]
    yield helper.make_node("Unsqueeze", [f"{out}.scales", last], [f"{out}.scale"])  # [B,T,1]
    yield helper.make_node("Mul", [f"{out}.float", f"{out}.scale"], [result])  # [B,T,D]
    if result != out:
        yield helper.make_node("Reshape", [result, f"{out}.shape"], [out])  # [...,D]


def _multiply(product: _Product, how: WeightScheme, graph: _Graph) -> Iterator[NodeProto]:
    """The nodes of one product, by its kind."""
    if how.kind == "w8_dequant":
        return _widened(product, graph)
    if how.grids is None:
        return _dynamic(product, graph)
    return _static(product, how.grids, graph)


def _dynamic(product: _Product, graph: _Graph) -> Iterator[NodeProto]:
    """As integers; x is rounded as it comes."""
    from onnx import TensorProto, helper

    x, out = product.x, product.out
    weight, scale = graph.store(product.weight, "linear", product.rows_first)
    if x not in graph.inputs_done:
        graph.inputs_done.add(x)
        yield helper.make_node("DynamicQuantizeLinear", [x], [f"{x}.q", f"{x}.scale", f"{x}.zero"])
    yield helper.make_node("MatMulInteger", [f"{x}.q", weight, f"{x}.zero"], [f"{out}.int"])
    yield helper.make_node("Cast", [f"{out}.int"], [f"{out}.float"], to=TensorProto.FLOAT)
    yield helper.make_node("Mul", [f"{x}.scale", scale], [f"{out}.scale"])  # [N]
    yield helper.make_node("Mul", [f"{out}.float", f"{out}.scale"], [out])  # [...,N]


def _widened(product: _Product, graph: _Graph) -> Iterator[NodeProto]:
    """In float, with a constant that is stored as int8."""
    from onnx import helper

    out = product.out
    weight, scale = graph.store(product.weight, "linear", product.rows_first)
    one = graph.add("one", np.float32(1))
    yield helper.make_node("DequantizeLinear", [weight, one], [f"{out}.w"])  # [K,N]
    yield helper.make_node("MatMul", [product.x, f"{out}.w"], [f"{out}.z"])  # [...,N]
    yield helper.make_node("Mul", [f"{out}.z", scale], [out])


def _static(product: _Product, grids: Activations, graph: _Graph) -> Iterator[NodeProto]:
    """Between two fixed grids (the QDQ form).

    onnxruntime fuses the inner five nodes into one QLinearMatMul. Weights have scale 1 and the row
    scales [N] are multiplied onto the result: see edgecap.quant.plan. Activations are uint8 (the
    plan's int8 plus 128): x86 multiplies unsigned by signed bytes, and onnxruntime would rewrite
    int8 activations to this form.
    """
    from onnx import helper

    out = product.out
    weight, scale = graph.store(product.weight, "linear", product.rows_first)
    at_input = _grid(f"{out}.x", grids.input, graph)
    at_output = _grid(f"{out}.y", grids.output, graph)
    # A zero point of its own for every weight: onnxruntime renames them when it widens weights to
    # uint8 for processors without VNNI, and fails over a shared one.
    one = [graph.add("one", np.float32(1)), graph.add(f"{weight}.zero", np.int8(0))]
    yield helper.make_node("QuantizeLinear", [product.x, *at_input], [f"{out}.x"])
    yield helper.make_node("DequantizeLinear", [f"{out}.x", *at_input], [f"{out}.a"])
    yield helper.make_node("DequantizeLinear", [weight, *one], [f"{out}.w"])  # [K,N]
    yield helper.make_node("MatMul", [f"{out}.a", f"{out}.w"], [f"{out}.z"])  # [...,N]
    yield helper.make_node("QuantizeLinear", [f"{out}.z", *at_output], [f"{out}.y"])
    yield helper.make_node("DequantizeLinear", [f"{out}.y", *at_output], [f"{out}.b"])
    yield helper.make_node("Mul", [f"{out}.b", scale], [out])


def _grid(name: str, grid: QuantParams, graph: _Graph) -> list[str]:
    """Names of the scale and the unsigned zero point of a grid."""
    scale = graph.add(f"{name}.scale", np.float32(grid.scale))
    return [scale, graph.add(f"{name}.zero", np.uint8(grid.zero_point + 128))]
