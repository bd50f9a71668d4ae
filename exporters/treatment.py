"""How a plan rounds a constant of a converted graph, which has lost the name of its layer.

Converters rename and transpose weights and do not change their values, so a matrix is known by its
content. Letters: N outputs (rows), D inputs of a linear layer; V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgecap.bundle.interface import DECODE_ATTENTION, EXTEND
from edgecap.core.errors import UnsupportedError
from edgecap.quant.plan import Activations, Plan, check_layers

if TYPE_CHECKING:
    from edgecap.quant.subject import Subject


@dataclass(frozen=True)
class WeightScheme:
    """How one constant is stored and multiplied with."""

    kind: str  # as in edgecap.quant.plan
    grids: Activations | None  # of the function at hand, where the kind is w8a8
    columns: tuple[float, ...] | None = None  # [D]: what the converter multiplied the columns by


class SchemeLookup(Protocol):
    """What the passes ask about the constants of one function of the contract."""

    def linear(self, weight: np.ndarray, function: str) -> WeightScheme:
        """Of the weights f32 [N,D] of a linear layer."""

    def table(self, weight: np.ndarray) -> WeightScheme:
        """Of a table f32 [V,D] that is looked up in."""


class PlanLookup:
    """The rounding of the constants of a model that is smoothed already."""

    def __init__(self, plan: Plan, subject: Subject, unknown: str | None = None) -> None:
        """`unknown` is the kind, without grids, of a matrix that is no layer; None: it is refused.

        Raises InputError where the plan is not for these layers.
        """
        check_layers(plan, subject.widths())
        self._plan, self._unknown = plan, unknown
        self._weights = weights = subject.weights()
        self._shapes = {path: tuple(weight.shape) for path, weight in weights.items()}
        self._twins: dict[str, list[str]] = {}  # content -> layers
        for path, weight in weights.items():
            self._twins.setdefault(_key(weight.detach().numpy()), []).append(path)

    def linear(self, weight: np.ndarray, function: str) -> WeightScheme:
        """Raises UnsupportedError where a converter changed the weights beyond recognition, and
        where layers of equal weights are not treated alike."""
        paths = self._twins.get(_key(weight)) or self._scaled(weight)
        # The same step, the same numbers.
        step = "decode" if function in (DECODE_ATTENTION, EXTEND) else function
        if not paths:
            for path, columns in self._columns(weight):
                return replace(self._alike([path], step), columns=tuple(columns.tolist()))
        if not paths and self._unknown is not None:
            return WeightScheme(self._unknown, None)
        if not paths:
            raise UnsupportedError(
                "plan.weights_changed",
                f"{function} has a linear layer {list(weight.shape)} whose weights are none of the "
                "model's: the converter merged something into them.",
                "Export with --precision fp32 or fp16.",
            )
        return self._alike(paths, step)

    def table(self, weight: np.ndarray) -> WeightScheme:
        """Tables that are no layer of the plan stay float: they are small, or positions."""
        paths = self._twins.get(_key(weight), [])
        kinds = {self._plan.layers[path].kind for path in paths}
        if len(kinds) > 1:
            raise _differ(paths)
        return WeightScheme(kinds.pop() if kinds else "fp32", None)

    def _scaled(self, weight: np.ndarray) -> list[str]:
        """Layers whose rows a converter multiplied by positive numbers, as it does where a scale
        comes after them (the 1/sqrt(Dh) of attention).

        Their integers are the same, and grids of outputs count in units of the row's scale, so
        that a plan holds for them unchanged.
        """
        found = []
        for path, tensor in self._weights.items():
            if self._shapes[path] != weight.shape:
                continue
            mine = tensor.detach().numpy()
            factor = (weight * mine).sum(1) / np.maximum((mine * mine).sum(1), 1e-30)  # [N]
            off = np.abs(weight - factor[:, None] * mine).max()
            if (factor > 0).all() and off <= 1e-5 * np.abs(weight).max():
                found.append(path)
        return found

    def _columns(self, weight: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Layers whose columns a converter multiplied, and by what [D].

        It folds the gain of a norm without a bias into the layer behind it, whose input then is
        another than the one that the plan was made for.
        """
        for path, tensor in self._weights.items():
            if self._shapes[path] != weight.shape:
                continue
            mine = tensor.detach().numpy()
            factor = (weight * mine).sum(0) / np.maximum((mine * mine).sum(0), 1e-30)  # [D]
            off = np.abs(weight - factor * mine).max()
            if off <= 1e-5 * np.abs(weight).max():
                yield path, factor

    def _alike(self, paths: list[str], function: str) -> WeightScheme:
        """The rounding of layers that have the same weights."""
        layers = [self._plan.layers[path] for path in paths]
        found = [WeightScheme(one.kind, one.functions.get(function)) for one in layers]
        if any(one != found[0] for one in found):
            raise _differ(paths)
        return WeightScheme(found[0].kind, self._plan.grids(paths[0], function))


def _differ(paths: list[str]) -> UnsupportedError:
    return UnsupportedError(
        "plan.same_weights",
        f"{' and '.join(paths)} have the same weights, and the plan does not treat them alike.",
        "Export with a plan that does, or with --precision fp32 or fp16.",
    )


def by(plan: Plan | None, subject: Subject) -> SchemeLookup | None:
    """The rounding by a plan; float exports have none."""
    return None if plan is None else PlanLookup(plan, subject)


def _key(weight: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(weight, np.float32).tobytes()).hexdigest()
