"""Rewriting a traced graph so that its parameters come from the shared file, stored as decided.

A static layer is the QDQ form, whose inner five nodes onnxruntime fuses into one QLinearMatMul. Its
weights have scale 1 and the scales of the rows come after: see edgecap.quant.plan. Activations are
uint8 (the plan's int8 plus 128): x86 multiplies unsigned by signed bytes, and onnxruntime would
rewrite int8 activations to this form.

Letters: K inputs, N outputs of a linear layer; V words, D width of a table; ids [...] have any
rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgecap.bundle.interface import DECODE, DECODE_ATTENTION, EXTEND
from edgecap.exporters.onnx.external import Place, WeightsFile
from edgecap.exporters.onnx.storing import INT8, LINEAR, TABLE, Storage, Use
from edgecap.quant.params import QuantParams
from edgecap.quant.plan import Activations, Plan

if TYPE_CHECKING:
    import onnx_ir as ir


class Rewriter:
    """Rewrites the uses of parameters in the graph of one function."""

    def __init__(
        self,
        graph: ir.Graph,
        file: WeightsFile,
        location: str,
        function: str,
        plan: Plan | None = None,
        alone: bool = True,
    ) -> None:
        """
        Args:
            plan: has the grids of static layers; where there are none it is not needed.
            alone: a call has one image or text, so that one scale of what comes serves all of it.
        """
        self._graph, self._file, self._location = graph, file, location
        # The same step, the same numbers.
        self._function = DECODE if function in (DECODE_ATTENTION, EXTEND) else function
        self._plan, self._alone = plan, alone
        self._on_grid: dict[tuple[str, QuantParams], ir.Value] = {}  # rounded input of layers
        self._rounded: dict[str, list[ir.Value]] = {}  # input of linear layers -> int8, scale, zero
        self._widened: dict[tuple[str, str], ir.Value] = {}

    def apply(self, use: Use, storage: Storage) -> None:
        """Let one node read its parameter as it is stored."""
        if use.role == LINEAR:
            self._linear(use, storage)
        elif use.role == TABLE:
            self._lookup(use, storage)
        else:
            value = self._read(use, storage, use.transposed, last=False)
            use.node.replace_input_with(use.index, value)

    def constants(self, least: int) -> None:
        """Move what is no parameter and has `least` bytes into the file as well."""
        import onnx_ir as ir

        for value in self._graph.initializers.values():
            data = value.const_value
            if data is None or isinstance(data, ir.ExternalTensor):
                continue
            if data.nbytes >= least:
                place = self._file.constant(data.numpy())
                value.const_value = self._external(value.name or "", place)

    # ------------------------------------------------------------------- operators

    def _linear(self, use: Use, storage: Storage) -> None:
        node, across = use.node, storage.transposed
        if across and not use.across:  # others multiply with its transpose, this one does not
            if node.op_type == "Gemm":
                node.attributes["transB"] = _attribute("transB", 0)
            node.replace_input_with(use.index, self._float(use.name, "float32", across=False))
            return
        if storage.kind == "dynamic" and _plain(node):
            self._integers(use, storage)
            return
        if storage.kind == "static" and _plain(node):
            assert self._plan is not None and storage.layer is not None
            grids = self._plan.grids(storage.layer, self._function)
            assert grids is not None  # a plan has them for each function
            self._fixed(use, storage, grids)
            return
        if storage.kind == "widened" and _plain(node) and node.inputs[0] is not None:
            self._between(use, storage, node.inputs[0], None)
            return
        if node.op_type == "Gemm":
            # What is stored is [K,N], or else the parameter as it is.
            node.attributes["transB"] = _attribute("transB", int(use.across and not across))
        last = across or storage.outputs_last
        node.replace_input_with(use.index, self._read(use, storage, across, last))

    def _integers(self, use: Use, storage: Storage) -> None:
        """x [...,K] times a parameter, as integers; x is rounded as it comes."""
        node, name = use.node, use.name
        x, out = node.inputs[0], node.outputs[0]
        assert x is not None and x.name is not None
        weight, scale = self._int8(name, storage)  # [K,N], [N]
        if x.name not in self._rounded:
            self._rounded[x.name] = self._rounding(node, x)
        q, x_scale, zero = self._rounded[x.name]
        base = f"{out.name}"
        if self._alone:
            (product,) = self._before(node, "MatMulInteger", [q, weight, zero], [f"{base}.int"])
        else:  # the operator takes one zero point: each item's is taken off afterwards
            (raw,) = self._before(node, "MatMulInteger", [q, weight], [f"{base}.raw"])
            sums = self._small(f"{name}.sums", self._file.sums(name, storage.outputs_last))  # [N]
            (shift,) = self._before(node, "Mul", [zero, sums], [f"{base}.shift"])
            (product,) = self._before(node, "Sub", [raw, shift], [f"{base}.int"])
        (wide,) = self._before(node, "Cast", [product], [f"{base}.float"], to=1)  # FLOAT
        (scales,) = self._before(node, "Mul", [x_scale, scale], [f"{base}.scale"])  # [N]
        self._scaled(node, wide, scales)

    def _rounding(self, node: ir.Node, x: ir.Value) -> list[ir.Value]:
        """x [B,...,K] as uint8, the scale and the zero point; those of each item, or of all alike.

        Of each item as DynamicQuantizeLinear would round it alone: its scale and zero point, int32,
        are [B,1,...] then.
        """
        name = str(x.name)
        if self._alone:
            outputs = [f"{name}.q", f"{name}.scale", f"{name}.zero"]
            return self._before(node, "DynamicQuantizeLinear", [x], outputs)
        assert x.shape is not None
        rank = len(x.shape)
        zero = self._small("zero", np.array(0, np.float32))
        one = self._small("one", np.array(1, np.float32))
        most = self._small("most", np.array(255, np.float32))
        axes = self._small(f"items.{rank}", np.arange(1, rank, dtype=np.int64))
        shape = self._small(f"scales.{rank}", np.array([-1] + [1] * (rank - 1), np.int64))

        def then(op: str, inputs: list[ir.Value], what: str, **attributes: Any) -> ir.Value:
            return self._before(node, op, inputs, [f"{name}.{what}"], **attributes)[0]

        least = then("ReduceMin", [x, axes], "least", keepdims=0)  # [B]
        greatest = then("ReduceMax", [x, axes], "greatest", keepdims=0)  # [B]
        least = then("Min", [least, zero], "low")
        width = then("Sub", [then("Max", [greatest, zero], "high"), least], "width")
        step = then("Div", [width, most], "step")
        step = then("Where", [then("Equal", [step, zero], "flat"), one, step], "steps")
        place = then("Sub", [zero, then("Div", [least, step], "ratio")], "place")
        place = then("Round", [then("Clip", [place, zero, most], "inside")], "nearest")
        whole = then("Cast", [place], "zeros", to=2)  # UINT8
        q = then("QuantizeLinear", [x, step, whole], "q", axis=0)
        shift = then("Cast", [place], "shifts", to=6)  # INT32
        return [
            q,
            then("Reshape", [step, shape], "scale"),
            then("Reshape", [shift, shape], "zero"),
        ]

    def _fixed(self, use: Use, storage: Storage, grids: Activations) -> None:
        """x [...,K] times a parameter, between the grids of the plan."""
        node, x = use.node, use.node.inputs[0]
        assert x is not None and x.name is not None
        key = x.name, grids.input
        if key not in self._on_grid:
            name = f"{x.name}.{len(self._on_grid)}"
            at = self._grid(name, grids.input)
            (rounded,) = self._before(node, "QuantizeLinear", [x, *at], [f"{name}.q"])
            (self._on_grid[key],) = self._before(
                node, "DequantizeLinear", [rounded, *at], [f"{name}.a"]
            )
        self._between(use, storage, self._on_grid[key], grids)

    def _between(self, use: Use, storage: Storage, x: ir.Value, grids: Activations | None) -> None:
        """x times widened weights of scale 1, on the output's grid, times the scales of the rows.

        With a scale for each column onnxruntime 1.32 would take a float x for MatMulNBits, which
        rounds it.
        """
        node, out = use.node, use.node.outputs[0]
        weight, scale = self._int8(use.name, storage)  # [K,N], [N]
        # A zero point of its own for every weight: onnxruntime renames them when it widens weights
        # to uint8 for processors without VNNI, and fails over a shared one.
        one = self._small("weights.unit", np.array(1, np.float32))
        zero = self._small(f"{weight.name}.zero", np.array(0, np.int8))
        base = f"{out.name}"
        (wide,) = self._before(node, "DequantizeLinear", [weight, one, zero], [f"{base}.w"])
        (product,) = self._before(node, "MatMul", [x, wide], [f"{base}.z"])
        if grids is not None:
            at = self._grid(f"{base}.y", grids.output)
            (rounded,) = self._before(node, "QuantizeLinear", [product, *at], [f"{base}.y"])
            (product,) = self._before(node, "DequantizeLinear", [rounded, *at], [f"{base}.b"])
        self._scaled(node, product, scale)

    def _grid(self, name: str, grid: QuantParams) -> list[ir.Value]:
        """The scale and the unsigned zero point of a grid."""
        scale = self._small(f"{name}.scale", np.array(grid.scale, np.float32))
        return [scale, self._small(f"{name}.zero", np.array(grid.zero_point + 128, np.uint8))]

    def _scaled(self, node: ir.Node, product: ir.Value, scales: ir.Value) -> None:
        """product [...,N] times the scales [N], plus the bias of a Gemm, instead of `node`."""
        bias = node.inputs[2] if node.op_type == "Gemm" and len(node.inputs) > 2 else None
        inputs: list[Any] = [product, scales]
        if bias is not None:
            name = f"{node.outputs[0].name}.scaled"
            inputs = [*self._before(node, "Mul", inputs, [name]), bias]
        self._instead(node, "Mul" if bias is None else "Add", inputs)

    def _lookup(self, use: Use, storage: Storage) -> None:
        """Rows of a table [V,D], or of the same table stored as [D,V]."""
        node, name, across = use.node, use.name, storage.transposed
        ids, out = node.inputs[1], node.outputs[0]
        if storage.outputs_last or (storage.kind == "float32" and not across):
            # Scales of columns do not help to look up rows.
            node.replace_input_with(0, self._float(name, "float32", across=False))
            return
        assert ids is not None and ids.shape is not None
        int8 = storage.kind in INT8
        if int8:
            table, scale = self._int8(name, storage)
        else:
            table = self._float(name, storage.kind, across)
        steps: list[tuple[str, list[ir.Value], dict[str, Any]]] = [
            ("Gather", [table, ids], {"axis": int(across)})
        ]
        if across:  # [D,...] to [...,D]
            steps.append(("Transpose", [], {"perm": [*range(1, len(ids.shape) + 1), 0]}))
        if storage.kind != "float32":
            steps.append(("Cast", [], {"to": 1}))  # FLOAT
        if int8:
            (scales,) = self._before(node, "Gather", [scale, ids], [f"{out.name}.scales"])
            axis = self._small("minus_one", np.array([-1], np.int64))
            scaled = self._before(node, "Unsqueeze", [scales, axis], [f"{out.name}.scale"])
            steps.append(("Mul", scaled, {}))  # [...,1]
        values: list[ir.Value] = []
        for i, (op, inputs, attributes) in enumerate(steps[:-1]):
            values = self._before(node, op, [*values, *inputs], [f"{out.name}.{i}"], **attributes)
        op, inputs, attributes = steps[-1]
        self._instead(node, op, [*values, *inputs], **attributes)

    # ------------------------------------------------------------------ parameters

    def _read(self, use: Use, storage: Storage, across: bool, last: bool) -> ir.Value:
        """A parameter as float32, whatever it is stored as; `last`: its outputs lie last."""
        kind = storage.kind
        if kind in INT8 and across == storage.transposed:
            weight, scale = self._int8(use.name, storage)
            # onnxruntime widens int8 to uint8 for processors without VNNI, and fails where no zero
            # point, or a shared one, says by how much.
            zeros = np.zeros(scale.shape.numpy() if scale.shape else (), np.int8)  # [N]
            zero = self._small(f"{weight.name}.zero", zeros)
            op, inputs, axis = "DequantizeLinear", [weight, scale, zero], {"axis": int(last)}
        elif kind == "float16":
            weight = self._float(use.name, kind, across)
            op, inputs, axis = "Cast", [weight], {"to": 1}  # FLOAT
        else:
            return self._float(use.name, "float32", across)
        key = (weight.name or "", op)
        if key not in self._widened:
            first = next(iter(self._graph))
            (self._widened[key],) = self._before(first, op, inputs, [f"{weight.name}.wide"], **axis)
        return self._widened[key]

    def _float(self, name: str, dtype: str, across: bool) -> ir.Value:
        place = self._file.floats(name, dtype, across)
        return self._initializer(f"{name}{'.T' if across else ''}.{dtype}", place)

    def _int8(self, name: str, storage: Storage) -> tuple[ir.Value, ir.Value]:
        weight, scale = self._file.rounded(name, storage.transposed, storage.outputs_last)
        turned = ".T" if storage.transposed else ""
        return (
            self._initializer(f"{name}{turned}.int8", weight),
            self._initializer(f"{name}.scale", scale),
        )

    def _initializer(self, name: str, place: Place) -> ir.Value:
        known = self._graph.initializers.get(name)
        return known or self._register(name, self._external(name, place))

    def _small(self, name: str, array: np.ndarray) -> ir.Value:
        import onnx_ir as ir

        known = self._graph.initializers.get(name)
        return known or self._register(name, ir.tensor(array, name=name))

    def _register(self, name: str, tensor: Any) -> ir.Value:
        import onnx_ir as ir

        value = ir.Value(
            name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self._graph.register_initializer(value)
        return value

    def _external(self, name: str, place: Place) -> Any:
        import onnx_ir as ir

        return ir.ExternalTensor(
            self._location,
            place.offset,
            place.length,
            ir.DataType.from_numpy(np.dtype(place.dtype)),
            shape=ir.Shape(place.shape),
            name=name,
        )

    # ----------------------------------------------------------------------- nodes

    def _before(
        self, node: ir.Node, op: str, inputs: list[Any], outputs: list[str], **attributes: Any
    ) -> list[ir.Value]:
        import onnx_ir as ir

        made = ir.node(op, inputs, attributes, outputs=[ir.Value(name=name) for name in outputs])
        self._graph.insert_before(node, made)
        return list(made.outputs)

    def _instead(self, node: ir.Node, op: str, inputs: list[Any], **attributes: Any) -> None:
        import onnx_ir as ir

        made = ir.node(op, inputs, attributes)
        ir.convenience.replace_nodes_and_values(
            self._graph, node, [node], [made], node.outputs, made.outputs
        )


def _plain(node: ir.Node) -> bool:
    """Whether a MatMul or Gemm is x times a matrix, plus a bias at most."""
    attributes = node.attributes
    factors = (attributes.get_float("alpha", 1.0), attributes.get_float("beta", 1.0))
    return factors == (1.0, 1.0) and not attributes.get_int("transA", 0)


def _attribute(name: str, value: int) -> ir.Attr:
    import onnx_ir as ir

    return ir.AttrInt64(name, value)
