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
from torch import Tensor, nn

from edgecap.bundle.interface import DECODE, ENCODE, ENCODE_CROP, Interface
from edgecap.core.progress import progress
from edgecap.models.adapter import GraphFunction
from edgecap.runtime.image_processing import ModelInput

CROPS = 8  # encoded together
BATCHES = (8, 32)  # images decoded together: the least and the most
STATE_BYTES = 64 << 20  # of a batch beyond the least: the state of a large model is large


@dataclass(frozen=True)
class CaptionSet:
    """Images and their captions: the calibration set of any captioner."""

    interface: Interface
    images: Sequence[ModelInput]  # N
    captions: list[list[int]]  # N of prompt and caption; the last token is never fed
    prompt: int = 1  # tokens of a caption that are the prompt

    def __len__(self) -> int:
        return len(self.images)

    def first(self, number: int) -> CaptionSet:
        """The first of its images and their captions."""
        return self.subset(range(min(number, len(self))))

    def subset(self, rows: Sequence[int]) -> CaptionSet:
        """Some of its images and their captions."""
        images = [self.images[row] for row in rows]
        captions = [self.captions[row] for row in rows]
        return CaptionSet(self.interface, images, captions, self.prompt)

    @torch.no_grad()
    def replay(
        self, functions: Sequence[GraphFunction], label: str
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Feed every caption to the functions.

        Yields, per batch, logits [M,V] in the order of steps, and embeddings [B,E] where the model
        has some.
        """
        batch = batch_size(self.interface)
        for start in progress(range(0, len(self), batch), label):
            stepper = Stepper(functions, self.interface, self.images[start : start + batch])
            logits = [step for _, _, step in self.steps(stepper, start)]
            yield torch.cat(logits), stepper.embedding

    @torch.no_grad()
    def unchanged(self, functions: Sequence[GraphFunction], label: str) -> np.ndarray:
        """Which captions these functions would write too, decoding greedily: bool [N].

        No decoding is needed: a caption is the same where its every token is the best one behind
        those before it.
        """
        same = np.ones(len(self), bool)
        batch = batch_size(self.interface)
        for start in progress(range(0, len(self), batch), label):
            stepper = Stepper(functions, self.interface, self.images[start : start + batch])
            for rows, position, logits in self.steps(stepper, start):
                if position < self.prompt - 1:
                    continue
                for row, token in zip(rows, logits.argmax(-1).tolist(), strict=True):
                    same[row] &= token == self.captions[row][position + 1]
        return same

    def steps(self, stepper: Stepper, start: int) -> Iterator[tuple[list[int], int, Tensor]]:
        """Feed the captions from row `start` on to a batch of theirs.

        Yields the rows that have a step, its position, and its logits [B,V].

        Images whose caption has ended leave the batch: they would show the layers what no caption
        has.
        """
        live = list(range(start, start + stepper.size))
        for position in range(max(len(self.captions[row]) for row in live) - 1):
            going = [row for row in live if len(self.captions[row]) > position + 1]
            if len(going) < len(live):
                stepper.keep([live.index(row) for row in going])
                live = going
            tokens = [self.captions[row][position] for row in live]
            yield live, position, stepper.step(tokens, position)


def batch_size(interface: Interface) -> int:
    """Images that are decoded together: steps of a small model take as long for many as for few."""
    least, most = BATCHES
    return min(max(STATE_BYTES // max(interface.state_bytes(), 1), least), most)


@torch.no_grad()
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
    batch = batch_size(interface)
    for start in progress(range(0, len(images), batch), "captioning"):
        stepper = Stepper(functions, interface, images[start : start + batch])
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
    return CaptionSet(interface, images, captions, len(prompt))


class Stepper:
    """One batch of images, encoded, and the state of their captions.

    No tensor is written to, so that gradients reach every step.
    """

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
        # Of the images, by the names of the state's entries; their lengths are no floats.
        self.encoded = {n: rows for n, rows in outputs.items() if rows.is_floating_point()}
        self._state = dict(outputs)
        for entry in interface.entries("text"):
            self._state[entry.name] = torch.zeros(interface.sizes(entry.shape, self.size))

    def step(self, tokens: Sequence[int], position: int) -> Tensor:
        """Feed a token to each row; logits [B,V]."""
        fed = {
            "token": torch.tensor(tokens, dtype=torch.int32)[:, None],  # [B,1]
            "position": torch.full((self.size,), position, dtype=torch.int32),  # [B]
        }
        made = self._run(DECODE, fed | self._state)
        row = torch.tensor([position])
        for entry in self._interface.entries("text"):
            rows = self._state[entry.name]  # [B,G,T,Dh]
            self._state[entry.name] = rows.index_copy(2, row, made[entry.new])
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
        parts = [self._run(ENCODE_CROP, {"image": p})["features"] for p in pixels.split(CROPS)]
        crops = torch.cat(parts)  # [C,F,D]
        n = self._interface.dims["n"]
        features = torch.stack(
            [
                nn.functional.pad(own, (0, 0, 0, 0, 0, n - len(own)))
                for own in crops.split([len(image.pixels) for image in images])
            ]
        )  # [B,n,F,D]
        grid = torch.tensor([image.grid for image in images], dtype=torch.int32)  # [B,2]
        return {"features": features, "grid": grid}

    def _run(self, name: str, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        function = self._functions[name]
        made = function.module(*(feeds[key] for key in function.inputs))
        tensors = made if isinstance(made, tuple) else (made,)
        return dict(zip(function.outputs, tensors, strict=True))


def _until(tokens: list[int], prompt: int, end: Sequence[int]) -> list[int]:
    """Up to the first end token behind the prompt."""
    ends = [i for i, token in enumerate(tokens) if i >= prompt and token in end]
    return tokens[: ends[0] + 1] if ends else tokens
