"""A captioner whose linear layers are in someone else's hands: to watch them, or to round them.

A LinearHook is told the function of the contract that is running, because the same weights see
other numbers in each: patches in encode_image, words before an image in decode, words alone in
encode_text.

Letters: B batch, T tokens, P patches, L layers, H heads, K head width, E embedding,
D inputs and N outputs of a layer (D also the model's width), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecap.quant.recipe import HEAD
from edgecap.reference.model.captioner import CaptionModel


def layer_weights(network: CaptionModel) -> dict[str, Tensor]:
    """The weights [N,D] of every linear layer, the head among them, by the name in a plan."""
    found = {n: m.weight for n, m in network.named_modules() if isinstance(m, nn.Linear)}
    return found | {HEAD: network.token.weight}


def layer_widths(network: CaptionModel) -> dict[str, int]:
    """Layer -> D, its input channels: what a plan must fit."""
    return {name: weight.shape[1] for name, weight in layer_weights(network).items()}


class LinearHook(Protocol):
    """What a tapped captioner asks for."""

    def linear(self, function: str, layer: str, x: Tensor, weight: Tensor) -> Tensor:
        """The layer's output [...,N] for x [...,D] and weight [N,D]."""

    def table(self, weight: Tensor) -> Tensor:
        """The token table [V,D] as it is looked up in."""


class HookedModel(CaptionModel):
    """The same parameters under the same names; every linear layer goes through `hook`."""

    def __init__(self, model: CaptionModel, hook: LinearHook) -> None:
        with torch.device("meta"):
            super().__init__(model.config)
        self.hook = hook
        self._function = "decode"  # of whoever asks the blocks themselves: StatefulDecode
        for name, module in list(self.named_modules()):
            if isinstance(module, nn.Linear):
                parent, _, child = name.rpartition(".")
                setattr(self.get_submodule(parent), child, _Layer(self, name))
        self.token = _Table(self)
        own = dict(model.named_parameters())  # of any shape; shared, not copied
        for name, _ in list(self.named_parameters()):
            parent, _, child = name.rpartition(".")
            setattr(self.get_submodule(parent), child, own[name])
        self.train(model.training)

    def see(self, *args: Any, **kwargs: Any) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Keys and values, L of [B,H,P,K], and hidden states, L of [B,P,D]."""
        with self._running("encode_image"):
            return super().see(*args, **kwargs)

    def embed_image(self, x: Tensor) -> Tensor:
        """Hidden patches [B,P,D] to [B,E]."""
        with self._running("encode_image"):
            return super().embed_image(x)

    def read(
        self, tokens: Tensor, keys: list[Tensor] | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Tokens int [B,T], and keys L of [B,H,P,K] of an image, to hidden states [B,T,D]."""
        with self._running("encode_text" if keys is None else "decode"):
            return super().read(tokens, keys, *args, **kwargs)

    def decode_attention(self, *args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scores [B,V], new rows of the cache [L,B,H,1,K] twice, attention [B,L,H,P]."""
        with self._running("decode"):  # which is made of it
            return super().decode_attention(*args)

    def encode_text(self, tokens: Tensor, length: Tensor) -> Tensor:
        """Tokens int [B,T] and their numbers int [B] to [B,E]."""
        with self._running("encode_text"):
            return super().encode_text(tokens, length)

    def logits(self, x: Tensor) -> Tensor:
        """Hidden text [...,D] to scores [...,V]."""
        return self.hook.linear("decode", HEAD, self.final_norm(x), self.token.weight)  # [...,V]

    def _call_hook(self, layer: str, x: Tensor, weight: Tensor) -> Tensor:
        """x [...,D] through a layer's weight [N,D] to [...,N], as the hook has it."""
        return self.hook.linear(self._function, layer, x, weight)

    @contextmanager
    def _running(self, function: str) -> Iterator[None]:
        before, self._function = self._function, function
        try:
            yield
        finally:
            self._function = before


class _Layer(nn.Module):
    """In the place of a linear layer of `owner`."""

    def __init__(self, owner: HookedModel, name: str) -> None:
        super().__init__()
        old = owner.get_submodule(name)
        self.weight = nn.Parameter(torch.empty_like(old.weight), requires_grad=False)  # [N,D]
        self._ask = owner._call_hook  # a bound method: the owner must not become a child
        self._name = name

    def forward(self, x: Tensor) -> Tensor:
        return self._ask(self._name, x, self.weight)  # [...,N]


class _Table(nn.Module):
    """In the place of the token table."""

    def __init__(self, owner: HookedModel) -> None:
        super().__init__()
        table = torch.empty_like(owner.token.weight)  # [V,D]
        self.weight = nn.Parameter(table, requires_grad=False)  # [V,D]
        self._tap = owner.hook

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self._tap.table(self.weight))  # [...,D]
