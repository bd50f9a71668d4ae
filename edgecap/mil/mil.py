"""An ML program as plain typed data: functions, their features, operations and values.

MIL is CoreML's intermediate language. These classes hold the contents of a file, of which only the
form was checked; package.py makes them, and the evaluator and `edgecap inspect` read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ValueType:
    """The type of a value. `dtype` as in dtypes.py, or "string"; "" for kinds without elements."""

    kind: str  # tensor, state, list, tuple or dictionary
    dtype: str = ""
    shape: tuple[int | None, ...] = ()  # None where the size is known at run time only

    def __str__(self) -> str:
        sizes = ",".join("?" if size is None else str(size) for size in self.shape)
        text = f"{self.dtype} [{sizes}]" if self.dtype else self.kind
        return f"state {text}" if self.kind == "state" else text


@dataclass(frozen=True)
class Blob:
    """A value's place in a weight file: the file inside the package, the offset of its metadata."""

    file: str
    offset: int


@dataclass(frozen=True)
class Value:
    """A constant: `data` if the program holds it, `blob` if a weight file does.

    Strings are a str (rank 0) or a tuple of str. Lists and dictionaries have neither.
    """

    type: ValueType
    data: np.ndarray | str | tuple[str, ...] | None = None
    blob: Blob | None = None


@dataclass(frozen=True)
class Named:
    """The name and type of an input or of an operation's output."""

    name: str
    type: ValueType


@dataclass(frozen=True)
class Operation:
    """One operation. Each input binds one or several names or constants."""

    type: str
    inputs: Mapping[str, tuple[str | Value, ...]]
    outputs: tuple[Named, ...]
    attributes: Mapping[str, Value]
    blocks: tuple[Block, ...]

    @property
    def arguments(self) -> Mapping[str, tuple[str | Value, ...]]:
        """The inputs, plus the attributes that constexpr operations of iOS 16 use as inputs."""
        if not self.type.startswith("constexpr_"):
            return self.inputs
        carried = {name: (each,) for name, each in self.attributes.items() if name != "name"}
        return {**carried, **self.inputs}

    @property
    def place(self) -> str:
        """The name of the first output, which identifies the operation in messages."""
        return self.outputs[0].name if self.outputs else "(no output)"


@dataclass(frozen=True)
class Block:
    """Operations in order, and the names of the block's outputs."""

    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Feature:
    """One input, output or state as the app sees it."""

    name: str
    kind: str  # multi_array, image, state, int64, double, string, dictionary or sequence
    dtype: str = ""  # of multi_array and state
    shape: tuple[int, ...] = ()  # of multi_array and state; the default one where it is flexible
    flexible: bool = False
    colour: str = ""  # of image: rgb, bgr, grayscale, grayscale_fp16
    size: tuple[int, int] = (0, 0)  # of image: width, height in px
    optional: bool = False


@dataclass(frozen=True)
class Function:
    """One function of a program; features are the app's view of its inputs and outputs."""

    name: str
    opset: str
    inputs: tuple[Named, ...]
    block: Block
    input_features: tuple[Feature, ...]
    output_features: tuple[Feature, ...]
    state_features: tuple[Feature, ...]
