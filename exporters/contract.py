"""The functions of the contract, ready to be traced: names, example inputs, shapes.

Letters: B batch, P image patches, T text tokens, H heads, L layers, C = P + T rows of the cache,
K = Dh head width, S model_input side in px.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgecap.bundle.interface import DECODE_ATTENTION, EXTEND, Interface
from edgecap.bundle.manifest import Function as Place
from edgecap.exporters.examples import integer_limits
from edgecap.models.adapter import GraphFunction
from edgecap.reference.config import CaptionerConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgecap.reference.model.captioner import CaptionModel


@dataclass(frozen=True)
class Function:
    """One graph to export; `batch_axes` gives the batch axis of every input and output."""

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]  # examples, B = 1, in the order of the arguments
    outputs: tuple[str, ...]
    batch_axes: dict[str, int]
    limits: dict[str, int] = field(
        default_factory=dict
    )  # integer input -> the exclusive upper limit of its values

    def random_inputs(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Values for every input, of its example's shape: all of the state too."""
        rng = np.random.default_rng(seed)
        values: dict[str, np.ndarray] = {}
        for name, example in self.inputs.items():
            size, dtype = tuple(example.shape), str(example.dtype).removeprefix("torch.")
            if example.is_floating_point():
                values[name] = rng.standard_normal(size).astype(dtype)
            else:
                limit = 256 if dtype == "uint8" else self.limits.get(name, 2)
                values[name] = rng.integers(int(name == "length"), limit, size).astype(dtype)
        return values

    def eager(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of PyTorch, by name."""
        import torch

        before = {n: rows.clone() for n, rows in self.module.named_buffers()}
        with torch.no_grad():
            results = self.module(*(torch.from_numpy(inputs[name]) for name in self.inputs))
            for name, rows in self.module.named_buffers():  # a step may keep state in them
                rows.copy_(before[name])
        results = results if isinstance(results, tuple) else (results,)
        return {name: value.numpy() for name, value in zip(self.outputs, results, strict=True)}


def own_names(file: str, name: str, inputs: Iterable[str], outputs: Iterable[str]) -> Place:
    """Where a function lies whose entry and tensors bear the contract's own names."""
    return Place(file, name, {n: n for n in inputs}, {n: n for n in outputs})


def ready(functions: Sequence[GraphFunction], interface: Interface) -> tuple[Function, ...]:
    """An adapter's functions, ready to be traced at batch 1."""
    return tuple(_ready(function, interface) for function in functions)


def _ready(function: GraphFunction, interface: Interface) -> Function:
    import torch

    def example(shape: tuple[int, ...], dtype: str) -> Tensor:
        kind = getattr(torch, dtype)
        return torch.zeros(shape, dtype=kind) if "float" in dtype else torch.ones(shape, dtype=kind)

    inputs = {
        name: example(interface.sizes(spec.shape, 1), spec.dtype)
        for name, spec in function.inputs.items()
    }
    return Function(
        function.name,
        function.module,
        inputs,
        tuple(function.outputs),
        dict.fromkeys((*function.inputs, *function.outputs), 0),  # the contract: batch first
        integer_limits(interface),
    )


def functions(
    model: CaptionModel,
    attention: bool = False,
    by_element: bool | None = None,
    extend: int | None = None,
) -> tuple[Function, ...]:
    """encode_image, decode and encode_text of `model`, sharing its parameters.

    With `attention` also decode_attention, which hands out every layer and head; with `extend` also
    the step that takes so many tokens at once. `by_element`: as of
    `edgecap.reference.model.graph_form`, whose form is taken, with a cache entry for the keys and
    for the values of each layer; None: the model's own, with one for all layers.
    """
    import torch
    from torch import nn

    from edgecap.reference.model.graph_form import GraphForm

    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        @property
        def form(self) -> CaptionModel | GraphForm:
            return self.model if by_element is None else GraphForm(self.model, by_element)

    class EncodeImage(Called):
        def forward(self, image: Tensor) -> tuple[Tensor, ...]:
            return self.form.encode_image(image)

    class Decode(Called):
        def forward(self, token: Tensor, position: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            return self.form.decode(token, position, *state)

    class DecodeAttention(Called):
        def forward(self, token: Tensor, position: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            return self.form.decode_attention(token, position, *state)

    class Extend(Called):
        def forward(self, tokens: Tensor, position: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            return GraphForm(self.model, False).extend(tokens, position, *state)

    class EncodeText(Called):
        def forward(self, tokens: Tensor, length: Tensor) -> Tensor:
            return self.model.encode_text(tokens, length)

    config: CaptionerConfig = model.config
    size, T, V, L = config.image_size, config.text_length, config.vocabulary, config.layers
    rows: tuple[int, ...] = (1, config.heads, config.context, config.head_width)  # [B,H,C,K]
    entries = tuple(f"{side}_{layer}" for side in "kv" for layer in range(L))
    new, axis = tuple(f"new_{entry}" for entry in entries), 0
    if by_element is None:
        rows, entries, new, axis = (L, *rows), ("k", "v"), ("k_new", "v_new"), 1
    state = {entry: torch.zeros(rows) for entry in entries}
    image = torch.zeros(1, size, size, 3, dtype=torch.uint8)  # [B,S,S,3]
    token = torch.ones(1, 1, dtype=torch.int32)  # [B,1]
    position = torch.ones(1, dtype=torch.int32)  # [B]
    text = torch.ones(1, T, dtype=torch.int32)  # [B,T]
    limits = {"token": V, "tokens": V, "position": T, "length": T + 1}

    def function(
        name: str, module: type[nn.Module], inputs: dict[str, Tensor], outputs: tuple[str, ...]
    ) -> Function:
        axes = {one: axis if one in (*entries, *new) else 0 for one in (*inputs, *outputs)}
        return Function(name, module().eval(), inputs, outputs, axes, limits)

    step = {"token": token, "position": position, **state}
    outputs = ("logits", *new, "attention")
    found = [
        function("encode_image", EncodeImage, {"image": image}, (*entries, "image_embedding")),
        function("decode", Decode, step, outputs),
        function(
            "encode_text", EncodeText, {"tokens": text, "length": position}, ("text_embedding",)
        ),
    ]
    if attention:
        found.append(function(DECODE_ATTENTION, DecodeAttention, step, outputs))
    if extend is not None:
        tokens = torch.ones(1, extend, dtype=torch.int32)  # [B,n]
        several = {"tokens": tokens, "position": position, **state}
        found.append(function(EXTEND, Extend, several, outputs[:-1]))
    return tuple(found)
