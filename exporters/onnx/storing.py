"""How each parameter of traced graphs is stored and read: whole, halved, or as int8.

One decision per parameter for all graphs, so that each is in the file once. A matrix that any
MatMul multiplies with lies as [K,N], which engines pack without transposing it first; where such a
matrix is a table too, rows are looked up along its second axis.

Int8 follows the plan, which knows a parameter by its path. `w8` layers are DynamicQuantizeLinear
and MatMulInteger, their inputs rounded as they come; `w8a8` layers stand between fixed grids;
others, and convolutions, are widened before they are used; tables are looked up as int8. All are
standard operators. Norms, biases and small tables stay float32. A matrix that is no layer of the
plan, as the parts of nn.MultiheadAttention, is treated as `w8`.

Letters: K inputs, N outputs of a linear layer; V words, D width of a table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgecap.exporters.onnx.parameters import Parameters
from edgecap.exporters.thresholds import TABLE_ELEMENTS, WIDE_ELEMENTS
from edgecap.quant.plan import Plan

if TYPE_CHECKING:
    import onnx_ir as ir

LINEAR, TABLE, CONVOLUTION, OTHER = "linear", "table", "convolution", "other"
# Where the parameter stands among the inputs of these operators.
OPERAND = {"MatMul": 1, "Gemm": 1, "Gather": 0, "Conv": 1}
INT8 = ("static", "dynamic", "widened")
KINDS = {"w8a8": "static", "w8": "dynamic", "w8_dequant": "widened", "fp32": "float32"}


@dataclass(frozen=True)
class Use:
    """One place where a node reads a parameter."""

    node: ir.Node
    index: int  # of the input
    name: str
    transposed: bool  # the node reads [K,N] of a parameter [N,K]

    @property
    def role(self) -> str:
        """What the node does with it."""
        if OPERAND.get(self.node.op_type) != self.index:
            return OTHER
        if self.node.op_type in ("MatMul", "Gemm"):
            return LINEAR
        if self.node.op_type == "Conv":
            return CONVOLUTION
        axis = self.node.attributes.get_int("axis", 0)
        return TABLE if axis == 0 and not self.transposed else OTHER

    @property
    def across(self) -> bool:
        """Whether a linear layer multiplies with the parameter's transpose, as nn.Linear does."""
        flips = self.node.op_type == "Gemm" and bool(self.node.attributes.get_int("transB", 0))
        return self.transposed != flips


def uses(graph: ir.Graph, parameters: Parameters) -> Iterator[Use]:
    """Every reading of a parameter in a graph, also through a Transpose of it."""
    for value in graph.initializers.values():
        name = parameters.find(value.name or "")
        if name is None:
            continue
        for use in value.uses():
            turns = use.node.op_type == "Transpose" and len(parameters.shape(name)) == 2
            if turns and use.node.attributes.get_ints("perm", (1, 0)) == (1, 0):
                for behind in use.node.outputs[0].uses():
                    yield Use(behind.node, behind.idx, name, transposed=True)
            else:
                yield Use(use.node, use.idx, name, transposed=False)


@dataclass(frozen=True)
class Storage:
    """How one parameter is stored for linear layers, lookups and convolutions."""

    # float32, float16; int8 with inputs on fixed grids (static), rounded as they come (dynamic) or
    # not rounded (widened)
    kind: str
    transposed: bool  # a matrix [N,K] as [K,N]
    outputs_last: bool  # a matrix that is [K,N] in the model: Conv1D
    layer: str | None = None  # its name in the plan


def decide(
    found: Iterable[Use], parameters: Parameters, precision: str, plan: Plan | None
) -> dict[str, Storage]:
    """What is done with each parameter, by name; int8 has a plan."""
    by_name: dict[str, list[Use]] = {}
    for use in found:
        by_name.setdefault(use.name, []).append(use)
    made = {}
    for name, each in by_name.items():
        linear = [use for use in each if use.role == LINEAR]
        modules = [path.rpartition(".")[0] for path in parameters.aliases[name]]
        layer = next((m for m in modules if plan is not None and m in plan.layers), None)
        kind = _kind(name, {use.role for use in each}, parameters, precision, plan, layer)
        across = any(use.across for use in linear)
        moved = any(use.transposed for use in linear) or kind in INT8
        made[name] = Storage(kind, across and moved, bool(linear) and not across, layer)
    return made


def _kind(
    name: str,
    roles: set[str],
    parameters: Parameters,
    precision: str,
    plan: Plan | None,
    layer: str | None,
) -> str:
    elements = math.prod(parameters.shape(name))
    if precision == "fp16":
        return "float16" if elements >= WIDE_ELEMENTS else "float32"
    matrix = len(parameters.shape(name)) == 2  # and not one for each head
    if plan is None or roles == {OTHER} or not (matrix or CONVOLUTION in roles):
        return "float32"
    if layer is not None:
        kind = KINDS[plan.layers[layer].kind]
    else:
        small = roles <= {TABLE, OTHER} and elements < TABLE_ELEMENTS
        kind = "float32" if small else "dynamic"
    return "widened" if CONVOLUTION in roles and kind != "float32" else kind
