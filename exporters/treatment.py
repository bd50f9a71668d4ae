"""What a plan says about a constant of a converted graph, which has lost the name of its layer.

Converters rename and transpose weights and do not change their values, so a matrix is known by its
content. Letters: N outputs (rows), D inputs of a linear layer; V vocabulary.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgecap.bundle.manifest import ATTENTION
from edgecap.core.errors import UnsupportedError
from edgecap.quant.plan import Activations, Plan, check_layers

if TYPE_CHECKING:
    from edgecap.reference.model.captioner import CaptionModel


@dataclass(frozen=True)
class WeightScheme:
    """How one constant is stored and multiplied with."""

    kind: str  # as in edgecap.quant.plan
    grids: Activations | None  # of the function at hand, where the kind is w8a8


class SchemeLookup(Protocol):
    """What the passes ask about the constants of one function of the contract."""

    def linear(self, weight: np.ndarray, function: str, name: str = "") -> WeightScheme:
        """Of the weights f32 [N,D] of a linear layer; `name` is what the converter calls them."""

    def table(self, weight: np.ndarray, name: str = "") -> WeightScheme:
        """Of a table f32 [V,D] that is looked up in."""


class PlanLookup:
    """What a plan says of the constants of a model that is smoothed already."""

    def __init__(self, plan: Plan, model: CaptionModel) -> None:
        """Raises InputError where the plan is not for these layers, UnsupportedError where two
        layers have the same weights, so that a constant would not say which it is."""
        from edgecap.quant.hooks import layer_weights

        layers = layer_weights(model)
        check_layers(plan, {name: tensor.shape[1] for name, tensor in layers.items()})
        self._plan = plan
        self._names: dict[str, str] = {}
        for name, tensor in layers.items():
            twin = self._names.setdefault(_key(tensor.detach().numpy()), name)
            if twin != name:
                raise UnsupportedError(
                    "plan.same_weights", f"{twin} and {name} have the same weights."
                )

    def linear(self, weight: np.ndarray, function: str, name: str = "") -> WeightScheme:
        """Raises UnsupportedError where a converter changed the weights beyond recognition."""
        name = self._names.get(_key(weight))
        if name is None:
            raise UnsupportedError(
                "plan.weights_changed",
                f"{function} has a linear layer {list(weight.shape)} whose weights are none of the "
                "model's: the converter merged something into them.",
                "Export with --precision fp32 or fp16.",
            )
        step = "decode" if function == ATTENTION else function  # the same step, the same numbers
        return WeightScheme(self._plan.layers[name].kind, self._plan.grids(name, step))

    def table(self, weight: np.ndarray, name: str = "") -> WeightScheme:
        """Only the token table is a layer of the plan, the output head; others stay float."""
        name = self._names.get(_key(weight))
        return WeightScheme("fp32" if name is None else self._plan.layers[name].kind, None)


def by(plan: Plan | None, model: CaptionModel) -> SchemeLookup | None:
    """What a plan says; float exports have none."""
    return None if plan is None else PlanLookup(plan, model)


def _key(weight: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(weight, np.float32).tobytes()).hexdigest()
