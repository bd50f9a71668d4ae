"""Hooks on the layers of a model while it runs: to observe them, or to round them.

No module is replaced and no weight copied: within `Tap.running` every product with the weights of
a layer goes through a hook, whoever multiplies: an nn.Linear, transformers' Conv1D, or a line of
code with a tied table. A hook receives the name of the running function, because the same weights
get other inputs in each: image rows in encode, the new row of a text in decode. Exporters trace
through it like through any code.

Letters: D inputs and N outputs of a layer, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgecap.quant.layers import LayerInfo


class LinearHook(Protocol):
    """What a tapped model asks for."""

    def linear(self, function: str, layer: str, x: Tensor, weight: Tensor) -> Tensor:
        """The layer's output [...,N] without bias, for x [...,D] and weight [N,D]."""

    def stored(self, layer: str, weight: Tensor) -> Tensor:
        """The weights [N,D] of a table or a convolution as they are used."""


class Tap:
    """A hook on the layers of one model."""

    def __init__(self, model: nn.Module, layers: Mapping[str, LayerInfo], hook: LinearHook) -> None:
        self.hook = hook
        self.function: str | None = None  # that is running
        self._model, self._layers = model, layers
        self.by_weight: dict[int, LayerInfo] = {}  # identity of a parameter -> its layer

    @contextmanager
    def running(self, function: str) -> Iterator[None]:
        """Within this, products with layers' weights are the hook's; the innermost name counts."""
        before, self.function = self.function, function
        try:
            if before is not None:
                yield
                return
            # Anew each time: tracers put other tensors in the place of parameters.
            self.by_weight = {
                id(info.parameter(self._model)): info for info in self._layers.values()
            }
            with _Intercept(self):
                yield
        finally:
            self.function = before


class Tapped(nn.Module):
    """The module of one function, run under a tap."""

    def __init__(self, module: nn.Module, tap: Tap, function: str) -> None:
        super().__init__()
        self.inner = module
        self._running: Callable[[], Any] = lambda: tap.running(function)

    def forward(self, *inputs: Tensor) -> Any:
        """As the module's."""
        with self._running():
            return self.inner(*inputs)


class _Intercept(TorchFunctionMode):
    """Hands four functions of torch to the tap where they are given the weights of a layer."""

    def __init__(self, tap: Tap) -> None:
        super().__init__()
        self._tap = tap

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        handler = _HANDLERS.get(func)
        if handler is not None:
            return handler(self._tap, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _linear(tap: Tap, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    info = tap.by_weight.get(id(weight))
    if info is None:
        return F.linear(x, weight, bias)
    assert tap.function is not None
    y = tap.hook.linear(tap.function, info.path, x, info.matrix(weight))  # [...,N]
    return y if bias is None else y + bias


def _addmm(tap: Tap, bias: Tensor, x: Tensor, weight: Tensor, **scalars: Any) -> Tensor:
    """Conv1D of transformers: bias [N] + x [n,D] @ weight [D,N]."""
    info = tap.by_weight.get(id(weight))
    if info is None or scalars:
        return torch.addmm(bias, x, weight, **scalars)
    assert tap.function is not None
    return tap.hook.linear(tap.function, info.path, x, info.matrix(weight)) + bias  # [n,N]


def _conv2d(tap: Tap, x: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    info = tap.by_weight.get(id(weight))
    if info is not None:
        weight = tap.hook.stored(info.path, info.matrix(weight)).view(weight.shape)
    return torch.conv2d(x, weight, *args, **kwargs)


def _embedding(tap: Tap, ids: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    info = tap.by_weight.get(id(weight))
    if info is not None:
        weight = tap.hook.stored(info.path, weight)  # [V,D]
    return F.embedding(ids, weight, *args, **kwargs)


_HANDLERS: dict[Any, Callable[..., Tensor]] = {
    F.linear: _linear,
    torch.addmm: _addmm,
    torch.conv2d: _conv2d,
    F.embedding: _embedding,
}
