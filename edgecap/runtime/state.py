"""The decoding state: image rows, text rows and rolling tensors of all sequences, by name.

The state stays at its place in memory while a caption is generated: engines are bound to it once,
and the host writes one new row per step. Image rows are neither copied nor sliced in a step.

Letters: B sequences, b of one engine call, n tokens of a sequence in one call, P image rows, T text
rows, C = P + T, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from edgecap.bundle.interface import DECODE, ENCODE, StateEntry
from edgecap.core.errors import InputError
from edgecap.runtime.backends.buffers import Buffer, Move
from edgecap.runtime.graphs import Graphs
from edgecap.runtime.image_processing import ModelInput

# Processed images, or the outputs of `encode` for them.
Images: TypeAlias = "Sequence[ModelInput] | Mapping[str, np.ndarray]"
_ROW = slice(None)


class Step(NamedTuple):
    """What a step returns for B sequences."""

    logits: np.ndarray  # f32 [B,V]; of extend [B,n,V], n the tokens that were fed
    attention: np.ndarray | None  # f32 [B,P], or [B,L,H,P] of decode_attention


class State:
    """The state of B sequences that have the same number of tokens."""

    def __init__(self, graphs: Graphs, images: Images, function: str = DECODE) -> None:
        """From B processed images, or the outputs of `encode` for them.

        `function`: the one that makes a step. Images are encoded into the state's own memory when
        the first token is fed, or at once where the model or its engine cannot.
        """
        self._graphs, self._function = graphs, function
        self.position = 0  # number of tokens fed
        self._rows = graphs.interface.dims["T"]
        if not isinstance(images, Mapping) and not graphs.encodes_in_place:
            images = graphs.encode_inputs(images)
        self._images: Images | None = images  # until the buffers are made
        self._size = _count(graphs, images)
        self._made: list[_Group] = []

    @property
    def _groups(self) -> list[_Group]:
        """The sequences by engine call; made when the first token is fed."""
        if self._images is not None:
            B, graphs = self._size, self._graphs
            cuts = [slice(0, B)] if graphs.batch is None else [slice(b, b + 1) for b in range(B)]
            self._made = [
                _begun(graphs, self._function, _cut(graphs, self._images, cut), [*range(B)[cut]])
                for cut in cuts
            ]
            self._images = None
        return self._made

    def __len__(self) -> int:
        """B."""
        return self._size

    @property
    def width(self) -> int:
        """n: the tokens of a sequence that one call takes; more than 1 with the function extend."""
        return _token_input(self._graphs, self._function)[1]

    def feed(self, tokens: Sequence[int]) -> Step:
        """Feed one token to every sequence; what chooses the next one."""
        return self.extend([[token] for token in tokens])

    def extend(self, tokens: Sequence[Sequence[int]]) -> Step:
        """Feed up to `width` tokens to every sequence, each as many; what chooses the next ones.

        InputError (text.too_long) if the state has no rows for them.
        """
        if self.position + len(tokens[0]) > self._rows:
            raise InputError(
                "text.too_long",
                f"{self.position + len(tokens[0])} tokens were fed; at most {self._rows} fit.",
                "Shorten the text.",
            )
        if len(self._groups) == 1:
            step = self._groups[0].step(tokens, self.position)
        else:
            steps = [
                group.step([ids], self.position)
                for group, ids in zip(self._groups, tokens, strict=True)
            ]
            step = _joined(steps)
        self.position += len(tokens[0])
        return step

    def prompt(self, tokens: Sequence[int]) -> Step:
        """Feed the same tokens, one or more, to every sequence; the last Step."""
        for token in tokens:
            step = self.feed([token] * len(self))
        return step

    @property
    def is_one_by_one(self) -> bool:
        """Whether the engine takes one sequence a call, so that company saves nothing."""
        return self._graphs.batch == 1

    def alone(self) -> Iterator[State]:
        """Each sequence as a state of its own, before the first token; buffers of one at a time."""
        images = self._images
        assert images is not None  # nothing was fed
        for b in range(self._size):
            one = _cut(self._graphs, images, slice(b, b + 1))
            yield State(self._graphs, one, self._function)

    def back(self) -> None:
        """Undo the last token: the next one overwrites its rows. For timing a single step."""
        self.position -= 1

    def select(self, sequences: Sequence[int]) -> None:
        """Keep these sequences, in this order; repeats are allowed."""
        chosen = list(sequences)
        if chosen == list(range(len(self))):
            return
        groups, self._size = self._groups, len(chosen)
        if self.is_one_by_one:
            self._made = self._rearranged(chosen)
            return
        (group,) = groups
        if [group.images[i] for i in chosen] == group.images:
            group.copy_text(group, self.position, chosen)
        elif group.can_shrink(chosen):
            group.shrink(chosen)
        else:
            self._made = [group.taken(chosen)]

    def _rearranged(self, chosen: Sequence[int]) -> list[_Group]:
        """The groups of one sequence each in another order; those not needed hold the repeats."""
        idle = [group for i, group in enumerate(self._groups) if i not in chosen]
        kept: set[int] = set()
        groups = []
        for i in chosen:
            source = self._groups[i]
            if i not in kept:
                kept.add(i)
                groups.append(source)
                continue
            reused = next((group for group in idle if group.images == source.images), None)
            if reused is None:
                groups.append(source.taken([0]))
            else:
                idle.remove(reused)
                reused.copy_text(source, self.position, [0])
                groups.append(reused)
        return groups

    def rows(self) -> dict[str, np.ndarray]:
        """What the last token wrote: of every state entry its new row, or its replacement."""
        return {
            entry.name: np.concatenate(
                [group.row(entry, self.position - 1) for group in self._groups],
                entry.tensor.batch_axis,
            )
            for entry in self._graphs.interface.state
            if entry.role != "image"
        }


def _joined(steps: Sequence[Step]) -> Step:
    attention = [step.attention for step in steps if step.attention is not None]
    return Step(
        np.concatenate([step.logits for step in steps]),
        np.concatenate(attention) if attention else None,
    )


class _Group:
    """The sequences of one engine call, and its inputs."""

    def __init__(
        self, graphs: Graphs, function: str, fixed: dict[str, np.ndarray], images: list[int]
    ) -> None:
        """`fixed`: the image entries. `images`: the image of each sequence; sequences of one image
        have equal image rows. The other entries are undefined.
        """
        self._graphs, self._function, self._fixed, self.images = graphs, function, fixed, images
        b, interface = len(images), graphs.interface
        self._entries = [entry for entry in interface.state if entry.role != "image"]
        self._tokens, self._width = _token_input(graphs, function)
        buffers = {
            self._tokens: Buffer((b, self._width), "int32"),
            "position": Buffer((b,), "int32"),
        }
        for entry in self._entries:
            buffers[entry.name] = Buffer(interface.sizes(entry.shape, b), entry.dtype)
        self._bound = graphs.bind(function, fixed, buffers)
        self._first = {entry.name: _first_text_row(graphs, entry) for entry in self._entries}
        self._new = [
            (entry.new, entry.name, self._first[entry.name] if entry.has_rows else None)
            for entry in self._entries
        ]

    def begin(self, images: Images) -> None:
        """Fill the entries for the first token."""
        if isinstance(images, Mapping):
            for move in self._starts(slice(None)):
                self._bound.write(move.buffer, images[move.output], move.place)
        else:
            outputs = self._graphs.outputs(ENCODE, 1)
            for b, image in enumerate(images):
                moves = self._starts(slice(b, b + 1))
                self._bound.fill(ENCODE, {"image": image.pixels}, moves, outputs)
        for entry in self._entries:
            if entry.has_rows:  # masked rows must be finite
                self._bound.write(entry.name, 0, (..., slice(self._first[entry.name], None), _ROW))

    def _starts(self, sequences: slice) -> list[Move]:
        """What `encode` gives these sequences."""
        moves = []
        for entry in self._entries:
            if entry.role == "text":
                continue
            place: tuple[Any, ...] = (slice(None),) * entry.tensor.batch_axis + (sequences, ...)
            if entry.has_rows:
                place += (slice(self._first[entry.name]), _ROW)
            moves.append(Move(entry.name, ..., entry.name, place))
        return moves

    def step(self, tokens: Sequence[Sequence[int]], position: int) -> Step:
        """Feed as many tokens to every sequence; where a call takes more, the last one repeats."""
        count = len(tokens[0])
        if count < self._width:
            tokens = [[*ids, *[ids[-1]] * (self._width - count)] for ids in tokens]
        part: Any = ... if count == self._width else (..., slice(count), _ROW)
        moves = []
        for output, buffer, first in self._new:
            if first is None:
                moves.append(Move(output, ..., buffer, ...))
            else:
                rows = slice(first + position, first + position + count)
                moves.append(Move(output, part, buffer, (..., rows, _ROW)))
        values = {self._tokens: tokens, "position": position}
        outputs = self._graphs.outputs(self._function, len(self.images))
        made = self._bound.step(values, moves, outputs)
        logits = made["logits"]
        if count < self._width:
            logits = logits[:, :count]
        return Step(logits, made.get("attention"))

    def row(self, entry: StateEntry, position: int) -> np.ndarray:
        """The row of the token at a position, as a step returned it; of rolling entries all."""
        place: Any = ...
        if entry.has_rows:
            first = self._first[entry.name] + position
            place = (..., slice(first, first + 1), _ROW)
        return self._bound.read(entry.name, place)

    def taken(self, sequences: Sequence[int]) -> _Group:
        """A copy of some of the sequences. Constant tensors are shared where B is 1."""
        fixed = self._fixed
        if len(self.images) != 1 or list(sequences) != [0]:
            fixed = {
                entry.name: np.take(fixed[entry.name], sequences, entry.tensor.batch_axis)
                for entry in self._graphs.interface.entries("image")
            }
        images = [self.images[i] for i in sequences]
        group = _Group(self._graphs, self._function, fixed, images)
        for entry in self._entries:
            group._copy(self, entry, ..., sequences)
        return group

    def can_shrink(self, sequences: Sequence[int]) -> bool:
        """Whether the first rows of the buffers can hold these sequences, the others left out."""
        rows = range(len(sequences))
        moved = [s for i, s in zip(rows, sequences, strict=True) if i != s]
        return (
            len(set(sequences)) == len(sequences) < len(self.images)
            and not set(moved) & set(rows)  # nothing is written before it is read
            and all(entry.tensor.batch_axis == 0 for entry in self._graphs.interface.state)
        )

    def shrink(self, sequences: Sequence[int]) -> None:
        """Keep these sequences, in the same memory: only those that fill a gap are copied."""
        for entry in self._entries:
            for i, s in enumerate(sequences):
                if i != s:
                    self._bound.write(entry.name, self._bound.read(entry.name, s), i)
        self._fixed = {name: value[list(sequences)] for name, value in self._fixed.items()}
        self.images = [self.images[s] for s in sequences]
        self._bound = self._bound.first(len(sequences), self._fixed)

    def copy_text(self, source: _Group, position: int, sequences: Sequence[int]) -> None:
        """Sequence i continues sequences[i] of `source`, which has the same image."""
        for entry in self._entries:
            place: Any = ...
            if entry.has_rows:
                first = self._first[entry.name]
                place = (..., slice(first, first + position), _ROW)
            self._copy(source, entry, place, sequences)

    def _copy(
        self, source: _Group, entry: StateEntry, place: Any, sequences: Sequence[int]
    ) -> None:
        theirs = source._bound.read(entry.name, place)
        self._bound.write(entry.name, np.take(theirs, sequences, entry.tensor.batch_axis), place)


def _begun(graphs: Graphs, function: str, images: Images, places: list[int]) -> _Group:
    """The images of one engine call before the first token; `places`: theirs in the whole state."""
    fixed = {}
    if isinstance(images, Mapping):
        fixed = {entry.name: images[entry.name] for entry in graphs.interface.entries("image")}
    group = _Group(graphs, function, fixed, places)
    group.begin(images)
    return group


def _cut(graphs: Graphs, images: Images, some: slice) -> Images:
    """Some of the images."""
    return graphs.cut(images, some) if isinstance(images, Mapping) else images[some]


def _count(graphs: Graphs, images: Images) -> int:
    """B."""
    if not isinstance(images, Mapping):
        return len(images)
    for entry in graphs.interface.state:
        if entry.name in images:
            return images[entry.name].shape[entry.tensor.batch_axis]
    return len(images["image_embedding"])


def _first_text_row(graphs: Graphs, entry: StateEntry) -> int:
    """The row of the first token in an entry."""
    return graphs.interface.dims["P"] if entry.role == "cache" else 0


def _token_input(graphs: Graphs, function: str) -> tuple[str, int]:
    """The name of the input of tokens of a step, and how many of a sequence it takes."""
    inputs = graphs.interface.function(function).inputs
    name = "token" if "token" in inputs else "tokens"
    n = inputs[name].shape[1]
    assert isinstance(n, int)  # interfaces are checked when they are read
    return name, n
