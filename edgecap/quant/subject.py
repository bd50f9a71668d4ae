"""A model as the quantiser sees it: functions, layers, and its family's settings for them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from edgecap.core.errors import InputError
from edgecap.models.adapter import GraphFunction, QuantSpec
from edgecap.quant.layers import LayerInfo, exceptions, find_layers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgecap.quant.hooks import LinearHook


class Subject:
    """A model, and how its family wants it rounded; `runnable` and `tapped` are of its kind."""

    def __init__(self, model: nn.Module, spec: QuantSpec, scores: Sequence[str] = ()) -> None:
        """`scores`: layers whose outputs are the logits, where no tied table is."""
        self.model, self.spec, self.scores = model, spec, tuple(scores)

    @cached_property
    def layers(self) -> dict[str, LayerInfo]:
        """By path."""
        return find_layers(self.model, self.spec)

    @cached_property
    def exceptions(self) -> dict[str, dict[str, str]]:
        """precision -> layer -> kind, where it is not that of the precision."""
        return exceptions(self.layers, self.spec, self.scores)

    def weights(self) -> dict[str, Tensor]:
        """The weights [N,D] of every layer, views."""
        return {path: info.weight(self.model) for path, info in self.layers.items()}

    def widths(self) -> dict[str, int]:
        """Layer -> D, its input channels: what a plan must fit."""
        return {path: weight.shape[1] for path, weight in self.weights().items()}

    @property
    def runnable(self) -> Any:
        """What a calibration set replays: the model as it is."""
        raise NotImplementedError

    def tapped(self, hook: LinearHook) -> Any:
        """The same with its layers in the hands of `hook`."""
        raise NotImplementedError

    def with_own(self, paths: Iterable[str]) -> Subject:
        """A copy whose parameters under these module paths are its own, all others shared."""
        raise NotImplementedError


class FunctionSubject(Subject):
    """Any model, by the functions of its adapter."""

    def __init__(
        self, functions: Sequence[GraphFunction], spec: QuantSpec, scores: Sequence[str] = ()
    ) -> None:
        self.functions = tuple(functions)
        super().__init__(self.functions[0].module.model, spec, scores)

    @property
    def runnable(self) -> tuple[GraphFunction, ...]:
        """The functions."""
        return self.functions

    def tapped(self, hook: LinearHook) -> tuple[GraphFunction, ...]:
        """The functions, each under the tap."""
        from edgecap.quant.hooks import Tap, Tapped

        tap = Tap(self.model, self.layers, hook)
        return tuple(
            GraphFunction(f.name, Tapped(f.module, tap, f.name).eval(), f.inputs, f.outputs)
            for f in self.functions
        )

    def with_own(self, paths: Iterable[str]) -> FunctionSubject:
        """All functions of the copy share one model, as those of this one do."""
        memo = shared(self.model, paths)
        return FunctionSubject(copy.deepcopy(self.functions, memo), self.spec, self.scores)


def subject_of(
    functions: Sequence[GraphFunction], spec: QuantSpec, vocabulary: int | None = None
) -> FunctionSubject:
    """The subject of an adapter's functions; a linear layer of `vocabulary` rows is its head."""
    found = FunctionSubject(functions, spec)
    scores = [
        path
        for path, info in found.layers.items()
        if info.operation == "linear" and info.parameter(found.model).shape[0] == vocabulary
    ]
    return FunctionSubject(functions, spec, scores)


def shared(model: nn.Module, own: Iterable[str]) -> dict[int, Any]:
    """A memo for deepcopy that keeps every parameter but those of the modules `own`."""
    copied = {id(p) for path in own for p in _module(model, path).parameters(recurse=False)}
    kept = [p for p in model.parameters() if id(p) not in copied]
    return {id(p): p for p in kept}


def _module(model: nn.Module, path: str) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError:
        raise InputError("plan.layers", f"the model has no layer {path}.") from None


def only(mapping: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The entries of these names, in their order."""
    return {name: mapping[name] for name in names if name in mapping}
