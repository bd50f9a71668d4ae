"""The functions of the contract, ready to be traced: names, example inputs, shapes.

Letters: B batch, P image patches, T text tokens, H heads, L layers, C = P + T rows of the cache,
K = Dh head width, S model_input side in px.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgecap.bundle.interface import Interface
from edgecap.bundle.manifest import ATTENTION, EXTEND
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
    tops: dict[str, int] = field(default_factory=dict)  # integer input -> least value beyond it

    def random_inputs(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Values for every input, of its example's shape: all of the state too."""
        rng = np.random.default_rng(seed)
        values: dict[str, np.ndarray] = {}
        for name, example in self.inputs.items():
            size, dtype = tuple(example.shape), str(example.dtype).removeprefix("torch.")
            if example.is_floating_point():
                values[name] = rng.standard_normal(size).astype(dtype)
            else:
                top = 256 if dtype == "uint8" else self.tops.get(name, 2)
                values[name] = rng.integers(int(name == "length"), top, size).astype(dtype)
        return values

    def eager(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What PyTorch answers, by output."""
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
    `edgecap.reference.model.graph_form`, whose form is taken; None: the model's own.
    """
    import torch
    from torch import nn

    from edgecap.reference.model import graph_form

    class EncodeImage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            if by_element is None:
                return self.model.encode_image(image)
            return graph_form.encode_image(self.model, image)

    class Decode(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self, token: Tensor, position: Tensor, k: Tensor, v: Tensor
        ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            if by_element is None:
                return self.model.decode(token, position, k, v)
            step = graph_form.decode(self.model, token, position, k, v, by_element)
            return (*step[:3], step[3].mean((1, 2)))  # attention [B,P]

    class DecodeAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self, token: Tensor, position: Tensor, k: Tensor, v: Tensor
        ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            if by_element is None:
                return self.model.decode_attention(token, position, k, v)
            return graph_form.decode(self.model, token, position, k, v, by_element)

    class Extend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self, tokens: Tensor, position: Tensor, k: Tensor, v: Tensor
        ) -> tuple[Tensor, Tensor, Tensor]:
            return graph_form.extend(self.model, tokens, position, k, v, False)[:3]

    class EncodeText(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: Tensor, length: Tensor) -> Tensor:
            return self.model.encode_text(tokens, length)

    config: CaptionerConfig = model.config
    size, T = config.image_size, config.text_length
    cache = (config.layers, 1, config.heads, config.context, config.head_width)  # [L,B,H,C,K]
    image = torch.zeros(1, size, size, 3, dtype=torch.uint8)  # [B,S,S,3]
    step = {
        "token": torch.ones(1, 1, dtype=torch.int32),  # [B,1]
        "position": torch.ones(1, dtype=torch.int32),  # [B]
        "k": torch.zeros(cache),
        "v": torch.zeros(cache),
    }
    text = {
        "tokens": torch.ones(1, T, dtype=torch.int32),  # [B,T]
        "length": torch.ones(1, dtype=torch.int32),  # [B]
    }
    image_axes = {"image": 0, "k": 1, "v": 1, "image_embedding": 0}
    decode_outputs = ("logits", "k_new", "v_new", "attention")
    decode_axes = {"token": 0, "position": 0, "k": 1, "v": 1}
    decode_axes |= {"logits": 0, "k_new": 1, "v_new": 1, "attention": 0}
    words = config.vocabulary
    tops = {"token": words, "tokens": words, "position": T, "length": T + 1}
    text_axes = {"tokens": 0, "length": 0, "text_embedding": 0}
    functions: tuple[Function, ...] = (
        Function(
            "encode_image",
            EncodeImage().eval(),
            {"image": image},
            ("k", "v", "image_embedding"),
            image_axes,
        ),
        Function("decode", Decode().eval(), step, decode_outputs, decode_axes, tops),
        Function("encode_text", EncodeText().eval(), text, ("text_embedding",), text_axes, tops),
    )
    if attention:
        by_head = Function(
            ATTENTION, DecodeAttention().eval(), step, decode_outputs, decode_axes, tops
        )
        functions = (*functions, by_head)
    if extend is not None:
        tokens = torch.ones(1, extend, dtype=torch.int32)  # [B,n]
        several = {"tokens": tokens} | {name: step[name] for name in ("position", "k", "v")}
        axes = {"tokens": 0} | decode_axes
        functions = (
            *functions,
            Function(EXTEND, Extend().eval(), several, decode_outputs[:3], axes, tops),
        )
    return functions
