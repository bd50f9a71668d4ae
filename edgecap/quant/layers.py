"""The layers of a model that a plan speaks of, by the path of the module that holds the weights.

A layer is one matrix: of an nn.Linear, of transformers' Conv1D (stored transposed), of an
nn.Conv2d or nn.Conv3d (patch embeddings), or a table that is looked up in. A table that is an
output head too is one layer, under the path of the embedding.

Letters: N outputs (rows), D inputs of a layer; of a table N = V.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from edgecap.models.adapter import QuantSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

TABLE_ELEMENTS = 1 << 15  # a smaller table that is only looked up in is not worth quantising
KIND_OF = {"float": "fp32", "weights": "w8_dequant", "dynamic": "w8"}  # Keep.kind -> kind of a plan


@dataclass(frozen=True)
class LayerInfo:
    """One layer: what it does, and where its weights are."""

    path: str  # of the module; the layer's name in a plan
    # linear, conv1d, conv2d, conv3d, table (only looked up in), head (looked up in and out)
    operation: str

    def parameter(self, model: nn.Module) -> Tensor:
        """The parameter as the module holds it."""
        weight: Tensor = model.get_submodule(self.path).weight
        return weight

    def weight(self, model: nn.Module) -> Tensor:
        """The weights [N,D], a view: writing to it changes the model."""
        return self.matrix(self.parameter(model))

    def matrix(self, parameter: Tensor) -> Tensor:
        """A parameter of this layer's shape as [N,D]."""
        if self.operation == "conv1d":
            return parameter.t()
        return parameter.flatten(1) if self.operation in ("conv2d", "conv3d") else parameter


def find_layers(model: nn.Module, spec: QuantSpec) -> dict[str, LayerInfo]:
    """Every layer of `model`, tables last, by path."""
    from torch import nn

    operations = {nn.Linear: "linear", nn.Embedding: "table"}
    operations |= {nn.Conv2d: "conv2d", nn.Conv3d: "conv3d"}
    heads = {embedding for embedding, _ in spec.tied}
    owner: dict[int, LayerInfo] = {}  # of a parameter, by identity
    for path, module in model.named_modules():
        operation = operations.get(type(module))
        if operation is None and type(module).__name__ == "Conv1D":
            operation = "conv1d"
        weight = getattr(module, "weight", None)
        if operation is None or weight is None:
            continue
        first = owner.get(id(weight))
        if operation == "table" and path in heads:
            operation = "head"
        elif first is not None:  # tied, whichever of the two was declared first
            both = "head" if {operation, first.operation} == {"table", "linear"} else operation
            path = first.path if operation != "table" else path
            operation = first.operation if first.operation == "head" else both
        owner[id(weight)] = LayerInfo(path, operation)
    worth = [i for i in owner.values() if i.operation != "table" or _is_large(i, model)]
    ordered = sorted(worth, key=lambda i: i.operation in ("table", "head"))  # stable
    return {info.path: info for info in ordered}


def exceptions(
    layers: Mapping[str, LayerInfo], spec: QuantSpec, scores: Iterable[str] = ()
) -> dict[str, dict[str, str]]:
    """precision -> layer -> kind, of the layers that are not rounded as the precision sets.

    `scores` names layers whose outputs are the logits: int8 logits cost more than all other
    outputs together, and these layers see one row a call.
    """
    found: dict[str, dict[str, str]] = {"w8": {}, "w8a8": {}}
    scores = set(scores)
    for precision, kinds in found.items():
        for path, info in layers.items():
            if info.operation in ("conv2d", "table"):
                kinds[path] = "w8_dequant"
            elif info.operation == "conv3d":  # of TFLite no kernel with int8 weights is here
                kinds[path] = "fp32"
            elif (info.operation == "head" or path in scores) and precision == "w8a8":
                kinds[path] = "w8"
            for pattern, keep in spec.keep.items():
                applies = keep.precision in (None, precision)
                if applies and fnmatchcase(path, pattern) and KIND_OF[keep.kind] != precision:
                    kinds[path] = KIND_OF[keep.kind]
    return found


def _is_large(info: LayerInfo, model: nn.Module) -> bool:
    return info.parameter(model).numel() >= TABLE_ELEMENTS
