"""The loop of a host over the functions of contract 2, whoever runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from edgecap.bundle.interface import Interface
from edgecap.exporters.examples import integer_limits
from edgecap.runtime.image_processing import ModelInput

Run = Callable[[str, Mapping[str, np.ndarray]], dict[str, np.ndarray]]

NEW_TOKENS = 20
LOGITS = 1e-4  # the largest error of one that tests allow


def prompts(adapter: Any) -> dict[str, tuple[int, ...]]:
    """Those of the checkpoint, and one with more words."""
    first = next(iter(adapter.generation.prompts.values()))
    return {**adapter.generation.prompts, "longer": (*first, 7, 9)}


def image_of(interface: Interface, batch: int, seed: int = 0) -> np.ndarray:
    """Noise, uint8 [B,h,w,3]."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, interface.sizes(interface.image.shape, batch), np.uint8)


def model_input(adapter: Any, seed: int = 0) -> ModelInput:
    """Noise as an adapter's model takes one image; `seed` also chooses the grid of its crops."""
    grids = adapter.image.grids or ((0, 0),)
    rows, columns = grid = grids[seed % len(grids)]
    return ModelInput(image_of(adapter.interface, rows * columns + 1, seed), grid)


def encode(run: Run, interface: Interface, image: ModelInput) -> dict[str, np.ndarray]:
    """The state of role image."""
    if not interface.has("encode_crop"):
        return run("encode", {"image": image.pixels})
    shape = interface.function("encode").inputs["features"].shape
    features = np.zeros(interface.sizes(shape, 1), np.float32)  # [1,n,F,D]
    for place, crop in enumerate(image.pixels):
        features[0, place] = run("encode_crop", {"image": crop[None]})["features"][0]
    return run("encode", {"features": features, "grid": np.array([image.grid], np.int32)})


def random_inputs(interface: Interface, name: str, batch: int, seed: int = 1) -> dict[str, Any]:
    """Random values for every input of a function: all of the state too."""
    rng = np.random.default_rng(seed)
    values: dict[str, Any] = {}
    for key, spec in interface.function(name).inputs.items():
        size = interface.sizes(spec.shape, batch)
        if spec.dtype == "float32":
            values[key] = rng.standard_normal(size, np.float32)
        else:
            least, below = 1 if key == "length" else 0, {"image": 256, **integer_limits(interface)}
            values[key] = rng.integers(least, below[key], size).astype(spec.dtype)
    return values


def eager(adapter: Any) -> Run:
    """Run an adapter's functions in PyTorch."""
    functions = {function.name: function for function in adapter.functions()}

    def run(name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        function = functions[name]
        with torch.no_grad():
            made = function.module(*(torch.from_numpy(inputs[key]) for key in function.inputs))
        made = made if isinstance(made, tuple) else (made,)
        return {key: tensor.numpy() for key, tensor in zip(function.outputs, made, strict=True)}

    return run


def greedy(
    run: Run,
    interface: Interface,
    image: ModelInput,
    prompt: Sequence[int],
    end: Sequence[int],
    banned: Sequence[int] = (),
) -> tuple[list[int], np.ndarray]:
    """What a host does for one image: ids behind the prompt, and their logits [n,V].

    Text rows start as noise: a graph that looks at rows it should not see gives itself away.
    """
    state = encode(run, interface, image)
    rng = np.random.default_rng(3)
    for entry in interface.entries("text"):
        state[entry.name] = rng.standard_normal(interface.sizes(entry.shape, 1), np.float32)
    ids, scores, todo = [], [], list(prompt)
    for position in range(len(prompt) + NEW_TOKENS - 1):
        token = np.array([[todo.pop(0) if todo else ids[-1]]], np.int32)
        made = run("decode", {"token": token, "position": np.array([position], np.int32), **state})
        for entry in interface.entries("text"):
            state[entry.name][:, :, position] = made[entry.new][:, :, 0]
        for entry in interface.entries("rolling"):
            state[entry.name] = made[entry.new]
        if todo:
            continue
        score = made["logits"][0]
        scores.append(score)
        allowed = score.copy()
        allowed[list(banned)] = -np.inf
        ids.append(int(allowed.argmax()))
        if ids[-1] in end:
            break
    return ids, np.stack(scores)
