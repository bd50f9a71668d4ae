"""Captions of images by any captioner, recorded once and replayed step by step.

Needs nothing but the functions of the contract: encode, then decode with the state fed back, as a
host runs them.

Letters: N images, B of one batch, C crops of a batch, n crops of an image at most, F rows of a
crop, D their width, T text rows, V vocabulary, M steps of a batch, G kv heads, Dh head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgecap.bundle.interface import DECODE, ENCODE, ENCODE_CROP, Interface
from edgecap.core.progress import progress
from edgecap.models.adapter import GraphFunction
from edgecap.runtime.image_processing import ModelInput

BATCH = 8


@dataclass(frozen=True)
class CaptionSet:
    """Images and their captions: the calibration set of any captioner."""

    interface: Interface
    images: Sequence[ModelInput]  # N
    captions: list[list[int]]  # N of prompt and caption; the last token is never fed

    def __len__(self) -> int:
        return len(self.images)

    def first(self, number: int) -> CaptionSet:
        """The first of its images and their captions."""
        return CaptionSet(self.interface, self.images[:number], self.captions[:number])

    def replay(
        self, functions: Sequence[GraphFunction], label: str
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Feed every caption to the functions.

        Yields, per batch, logits [M,V] in the order of steps, and embeddings [B,E] where the model
        has some.
        """
        for start in progress(range(0, len(self), BATCH), label):
            captions = self.captions[start : start + BATCH]
            stepper = Stepper(functions, self.interface, self.images[start : start + BATCH])
            live, logits = list(range(len(captions))), []
            for position in range(max(map(len, captions)) - 1):
                going = [b for b in live if len(captions[b]) > position + 1]
                if len(going) < len(
                    live
                ):  # finished rows would show the layers what no caption has
                    stepper.keep([live.index(b) for b in going])
                    live = going
                logits.append(stepper.step([captions[b][position] for b in live], position))
            yield torch.cat(logits), stepper.embedding


def collect_captions(
    functions: Sequence[GraphFunction],
    interface: Interface,
    images: Sequence[ModelInput],
    prompt: Sequence[int],
    end: Sequence[int],
    new_tokens: int | None = None,
) -> CaptionSet:
    """Caption images greedily.

    Args:
        prompt: the first tokens, one or more.
        end: tokens that end a caption.
        new_tokens: of a caption at most; None: as many as there are text rows.
    """
    room = interface.dims["T"] - len(prompt)
    limit = len(prompt) + (room if new_tokens is None else min(new_tokens, room))
    captions: list[list[int]] = []
    for start in progress(range(0, len(images), BATCH), "captioning"):
        stepper = Stepper(functions, interface, images[start : start + BATCH])
        sequences = [list(prompt) for _ in range(stepper.size)]
        done = [False] * len(sequences)
        for position in range(limit - 1):
            logits = stepper.step([tokens[position] for tokens in sequences], position)  # [B,V]
            if position < len(prompt) - 1:
                continue
            for b, token in enumerate(logits.argmax(-1).tolist()):
                sequences[b].append(token)
                if not done[b] and token in end:
                    done[b] = True
            if all(done):
                break
        captions += [_until(tokens, len(prompt), end) for tokens in sequences]
    return CaptionSet(interface, images, captions)


class Stepper:
    """One batch of images, encoded, and the state of their captions."""

    def __init__(
        self,
        functions: Sequence[GraphFunction],
        interface: Interface,
        images: Sequence[ModelInput],
    ) -> None:
        self._functions = {function.name: function for function in functions}
        self._interface, self.size = interface, len(images)
        outputs = self._run(ENCODE, self._inputs(images))
        self.embedding = outputs.pop("image_embedding", None)
        self._state = outputs
        for entry in interface.entries("text"):
            self._state[entry.name] = torch.zeros(interface.sizes(entry.shape, self.size))

    def step(self, tokens: Sequence[int], position: int) -> Tensor:
        """Feed a token to each row; logits [B,V]."""
        fed = {
            "token": torch.tensor(tokens, dtype=torch.int32)[:, None],  # [B,1]
            "position": torch.full((self.size,), position, dtype=torch.int32),  # [B]
        }
        made = self._run(DECODE, fed | self._state)
        for entry in self._interface.entries("text"):
            self._state[entry.name][:, :, position] = made[entry.new][:, :, 0]  # [B,G,Dh]
        for entry in self._interface.entries("rolling"):
            self._state[entry.name] = made[entry.new]
        return made["logits"]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch alone."""
        self.size = len(rows)
        self._state = {name: tensor[list(rows)] for name, tensor in self._state.items()}

    def _inputs(self, images: Sequence[ModelInput]) -> dict[str, Tensor]:
        """What encode takes of images: their pixels, or the features of their crops."""
        pixels = torch.from_numpy(np.concatenate([image.pixels for image in images]))
        if not self._interface.has(ENCODE_CROP):
            return {"image": pixels}
        parts = [self._run(ENCODE_CROP, {"image": p})["features"] for p in pixels.split(BATCH)]
        crops = torch.cat(parts)  # [C,F,D]
        shape = self._interface.function(ENCODE).inputs["features"].shape
        features = torch.zeros(self._interface.sizes(shape, len(images)))  # [B,n,F,D]
        for b, own in enumerate(crops.split([len(image.pixels) for image in images])):
            features[b, : len(own)] = own
        grid = torch.tensor([image.grid for image in images], dtype=torch.int32)  # [B,2]
        return {"features": features, "grid": grid}

    def _run(self, name: str, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        function = self._functions[name]
        with torch.no_grad():
            made = function.module(*(feeds[key] for key in function.inputs))
        tensors = made if isinstance(made, tuple) else (made,)
        return dict(zip(function.outputs, tensors, strict=True))


def _until(tokens: list[int], prompt: int, end: Sequence[int]) -> list[int]:
    """Up to the first end token behind the prompt."""
    ends = [i for i, token in enumerate(tokens) if i >= prompt and token in end]
    return tokens[: ends[0] + 1] if ends else tokens
