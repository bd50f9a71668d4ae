"""The interface of schema 2: the functions of an exported captioner, and the state between them.

    encode(image uint8 [B,h,w,3])              -> state of role image and rolling, [image_embedding]
    encode_crop(image uint8 [B,h,w,3])         -> features [B,F,D]                          optional
    decode(token [B,1], position [B], state)   -> logits [B,V], one new row per text entry, rolling
    decode_attention(as decode)                -> as decode, attention [B,L,H,P]            optional
    extend(tokens [B,n], position [B], state)  -> logits [B,n,V], n new rows per entry      optional
    decode_stateful(token, position, images)   -> logits [B,V], [attention]                 optional
    encode_text(tokens [B,N], length [B])      -> text_embedding [B,E]                      optional

`extend` is n steps in one. `decode_stateful` is of a state of `cache` entries alone: it takes their
image rows, `<entry>_image`, and keeps the text rows itself.

The state is a list of named tensors. `image` entries are constant after encode. `text` entries are
buffers of T rows: the host writes the row `new_<entry>` of step t at row t, and the graph masks
the rows from `position` on. `cache` entries are buffers of C = P + T rows: the P rows of encode,
then text rows, so that the row of step t goes to row P + t. `rolling` entries are replaced by the
output `new_<entry>`. `position` counts text tokens from 0, whatever position ids the model uses.

With encode_crop, an image is a grid of crops: encode takes features [B,n,F,D] of its crops, zeros
behind them, and grid int32 [B,2], their rows and columns. Its state has the entry `image_length`
int32 [B]: how many of the P rows an image fills.

Letters: B batch, n crops of an image at most, F rows of a crop, D their width, P image rows, T text
rows, C rows of a cache, L layers, H heads, G key/value heads, Dh head width, V vocabulary,
E embedding, N tokens of a text to embed, h and w height and width in px of the image, or of a crop.
`dims` binds every letter but B. Families may bind more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgecap.core.errors import BundleError
from edgecap.core.typed import decode as decode_json

Size = int | str  # a number, or a letter defined in `dims`

ENCODE, DECODE, ENCODE_TEXT = "encode", "decode", "encode_text"
DECODE_ATTENTION, DECODE_STATEFUL, EXTEND = "decode_attention", "decode_stateful", "extend"
ENCODE_CROP = "encode_crop"
IMAGE_LENGTH = "image_length"  # state entry
ROLES = ("image", "text", "cache", "rolling")
DTYPES = {"uint8": 1, "int32": 4, "float32": 4, "float16": 2}  # bytes of one number
BATCH = "B"
MAX_STATE_BYTES = 2 << 30  # at batch 1


@dataclass(frozen=True)
class TensorSpec:
    """One input or output."""

    dtype: str
    shape: tuple[Size, ...]

    @property
    def batch_axis(self) -> int:
        """The axis of B: the first, but for cache entries."""
        return self.shape.index(BATCH)


@dataclass(frozen=True)
class StateEntry:
    """One tensor of the state."""

    name: str
    role: str  # one of ROLES
    kind: str  # key, value, or another description
    layer: int
    shape: tuple[Size, ...]  # batch first; text: [B,G,T,Dh]; cache: any with […,C,Dh]
    dtype: str

    @property
    def new(self) -> str:
        """The output of decode with this entry's new row, or its replacement."""
        return f"new_{self.name}"

    @property
    def image(self) -> str:
        """The input of decode_stateful with this entry's image rows."""
        return f"{self.name}_image"

    @property
    def tensor(self) -> TensorSpec:
        """As an input of decode."""
        return TensorSpec(self.dtype, self.shape)

    @property
    def encoded(self) -> TensorSpec:
        """As an output of encode: the image rows of a cache entry, else all of it."""
        if self.role != "cache":
            return self.tensor
        return TensorSpec(self.dtype, (*self.shape[:-2], "P", self.shape[-1]))

    @property
    def has_rows(self) -> bool:
        """Whether the host writes a new row of this entry in each step."""
        return self.role in ("text", "cache")

    @property
    def step(self) -> TensorSpec:
        """As an output of decode: one row of a text or cache entry, all of a rolling one."""
        return self.rows(1) if self.has_rows else self.tensor

    def rows(self, n: int) -> TensorSpec:
        """New rows of a text or cache entry, for `n` tokens."""
        return TensorSpec(self.dtype, (*self.shape[:-2], n, self.shape[-1]))


@dataclass(frozen=True)
class FunctionSpec:
    """One function: its tensors by name, in the order of arguments and results."""

    name: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


@dataclass(frozen=True)
class AttentionGrid:
    """The image rows that are patches: `rows` x `columns`, row by row, from row `first` on."""

    rows: int
    columns: int
    first: int


@dataclass(frozen=True)
class Interface:
    """Every function and tensor of one exported model."""

    dims: dict[str, int]
    functions: tuple[FunctionSpec, ...]
    state: tuple[StateEntry, ...]
    attention: AttentionGrid | None = None
    batch: int | None = None  # null: the graphs accept any B

    def has(self, function: str) -> bool:
        """Whether the model has this function."""
        return any(spec.name == function for spec in self.functions)

    def function(self, name: str) -> FunctionSpec:
        """The function called `name`; KeyError if there is none (see `has`)."""
        return {spec.name: spec for spec in self.functions}[name]

    @property
    def image(self) -> TensorSpec:
        """What an image, or a crop of one, is given as."""
        return self.function(ENCODE_CROP if self.has(ENCODE_CROP) else ENCODE).inputs["image"]

    def entries(self, *roles: str) -> tuple[StateEntry, ...]:
        """The state entries with these roles, in order."""
        return tuple(entry for entry in self.state if entry.role in roles)

    def sizes(self, shape: Iterable[Size], batch: int) -> tuple[int, ...]:
        """A shape in numbers, for a batch of `batch`."""
        bound = {**self.dims, BATCH: batch}
        return tuple(bound[size] if isinstance(size, str) else size for size in shape)

    def state_bytes(self) -> int:
        """The size in bytes of the state of one image."""
        return sum(
            math.prod(self.sizes(entry.shape, 1)) * DTYPES[entry.dtype] for entry in self.state
        )


def captioner(
    dims: Mapping[str, int],
    state: Iterable[StateEntry],
    *,
    embeds: bool = False,
    attention: AttentionGrid | None = None,
    crops: bool = False,
) -> Interface:
    """The interface of a model with encode and decode.

    `embeds`: encode also embeds; `crops`: an image is a grid of crops.
    """
    state = tuple(state)
    encoded = {entry.name: entry.encoded for entry in state if entry.role != "text"}
    if embeds:
        encoded["image_embedding"] = TensorSpec("float32", (BATCH, "E"))
    inputs = {
        "token": TensorSpec("int32", (BATCH, 1)),
        "position": TensorSpec("int32", (BATCH,)),
        **{entry.name: entry.tensor for entry in state},
    }
    outputs = {
        "logits": TensorSpec("float32", (BATCH, "V")),
        **{entry.new: entry.step for entry in state if entry.role != "image"},
    }
    encode = FunctionSpec(ENCODE, {"image": IMAGE}, encoded)
    decode = FunctionSpec(DECODE, inputs, outputs)
    functions: tuple[FunctionSpec, ...] = (encode, decode)
    if crops:
        encode = FunctionSpec(ENCODE, {"features": CROPS, "grid": GRID}, encoded)
        functions = (
            FunctionSpec(ENCODE_CROP, {"image": IMAGE}, {"features": CROP}),
            encode,
            decode,
        )
    return checked(Interface(dict(dims), functions, state, attention))


def embedder(dims: Mapping[str, int]) -> Interface:
    """The interface of a model that only embeds: images, and texts of up to N tokens."""
    embedding = TensorSpec("float32", (BATCH, "E"))
    text = {
        "tokens": TensorSpec("int32", (BATCH, "N")),
        "length": TensorSpec("int32", (BATCH,)),
    }
    functions = (
        FunctionSpec(ENCODE, {"image": IMAGE}, {"image_embedding": embedding}),
        FunctionSpec(ENCODE_TEXT, text, {"text_embedding": embedding}),
    )
    return checked(Interface(dict(dims), functions, ()))


IMAGE = TensorSpec("uint8", (BATCH, "h", "w", 3))
CROP = TensorSpec("float32", (BATCH, "F", "D"))
CROPS = TensorSpec("float32", (BATCH, "n", "F", "D"))
GRID = TensorSpec("int32", (BATCH, 2))


def interface_from_json(value: Any, where: str = "interface") -> Interface:
    """A checked interface from plain JSON values; raises BundleError."""
    return checked(decode_json(Interface, value, where))


def checked(interface: Interface) -> Interface:
    """The same interface; raises BundleError if it is inconsistent or violates the contract."""
    for letter, size in interface.dims.items():
        if letter == BATCH or not 1 <= size < 1 << 31:
            raise _bad(f"dims.{letter} is {size}; sizes must be positive, and B is not allowed")
    if interface.batch not in (None, 1):
        raise _bad(f"batch is {interface.batch}; allowed: null (any) and 1")
    _check_state(interface)
    names = [spec.name for spec in interface.functions]
    if len(set(names)) != len(names) or ENCODE not in names:
        raise _bad(f"functions are {', '.join(names)}; encode is required, each name once")
    cached = {
        name
        for entry in interface.entries("cache")
        for name in (entry.name, entry.new, entry.image)
    }
    for spec in interface.functions:
        for name, tensor in {**spec.inputs, **spec.outputs}.items():
            where = f"{spec.name}.{name}"
            _check_tensor(interface, where, tensor.dtype, tensor.shape, name not in cached)
    _check_contract(interface)
    return interface


def _check_state(interface: Interface) -> None:
    names = [entry.name for entry in interface.state]
    if len(set(names)) != len(names):
        raise _bad("two state entries have the same name")
    for entry in interface.state:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", entry.name):
            raise _bad(f"state entry {entry.name!r} must be named in a-z, 0-9 and _")
        if entry.role not in ROLES:
            raise _bad(f"{entry.name}.role is {entry.role!r}; allowed: {', '.join(ROLES)}")
        _check_tensor(interface, entry.name, entry.dtype, entry.shape, entry.role != "cache")
        if entry.role == "text" and (len(entry.shape) != 4 or entry.shape[2] != "T"):
            raise _bad(f"{entry.name} has role text and must have the shape [B,G,T,Dh]")
        if entry.role == "cache":
            dims = interface.dims
            if entry.shape[-2:-1] != ("C",) or not {"P", "T", "C"} <= dims.keys():
                raise _bad(f"{entry.name} has role cache and must have the shape […,C,Dh]")
            if dims["C"] != dims["P"] + dims["T"]:
                raise _bad(f"dims.C is {dims['C']}, which is not P + T")
    if interface.state_bytes() > MAX_STATE_BYTES:
        raise BundleError(
            "bundle.oversized", f"a state of {interface.state_bytes()} bytes is too large."
        )


def _check_tensor(
    interface: Interface, name: str, dtype: str, shape: tuple[Size, ...], batch_first: bool = True
) -> None:
    if dtype not in DTYPES:
        raise _bad(f"{name} is {dtype!r}; allowed: {', '.join(DTYPES)}")
    if batch_first and (not shape or shape[0] != BATCH):
        raise _bad(f"the first size of {name} must be the batch B")
    if shape.count(BATCH) != 1:
        raise _bad(f"{name} must have the batch B once")
    for size in shape:
        if size == BATCH:
            continue
        known = size in interface.dims if isinstance(size, str) else size >= 1
        if not known:
            raise _bad(f"{name} has the size {size!r}, which is not defined in dims")


def _check_contract(interface: Interface) -> None:
    """Raise BundleError if a function's inputs or outputs differ from the contract."""
    _check_encode(interface)
    for name, check in _CHECKS.items():
        if interface.has(name):
            check(interface)


def _check_encode(interface: Interface) -> None:
    encode = interface.function(ENCODE)
    encoded = {entry.name for entry in interface.state if entry.role != "text"}
    inputs = {"image"}
    if interface.has(ENCODE_CROP):
        inputs = {"features", "grid"}
        if encode.inputs != {"features": CROPS, "grid": GRID} or IMAGE_LENGTH not in encoded:
            raise _bad(f"encode must map features [B,n,F,D] and grid [B,2] to {IMAGE_LENGTH} too")
    if set(encode.inputs) != inputs or set(encode.outputs) - {"image_embedding"} != encoded:
        raise _bad(
            f"encode must map {' and '.join(sorted(inputs))} to every entry but those of text, "
            "and nothing else"
        )
    embeds = "image_embedding" in encode.outputs
    if not interface.has(DECODE) and (interface.state or not embeds):
        raise _bad("a model without decode must have no state and must return an image embedding")


def _check_encode_crop(interface: Interface) -> None:
    crop = interface.function(ENCODE_CROP)
    if crop.inputs != {"image": IMAGE} or crop.outputs != {"features": CROP}:
        raise _bad("encode_crop must map image [B,h,w,3] to features [B,F,D]")


def _check_decode(interface: Interface) -> None:
    decode = interface.function(DECODE)
    updated = {entry.new for entry in interface.state if entry.role != "image"}
    if set(decode.inputs) != {"token", "position", *(entry.name for entry in interface.state)}:
        raise _bad("decode must take token, position and every state entry")
    if set(decode.outputs) - {"attention"} != {"logits"} | updated:
        raise _bad("decode must return logits and new_<entry> for entries that change")
    if (interface.attention is None) == ("attention" in decode.outputs):
        raise _bad("decode must return attention if its grid is defined, and only then")


def _check_decode_attention(interface: Interface) -> None:
    if not interface.has(DECODE) or interface.attention is None:
        raise _bad("decode_attention needs decode, and the grid of attention")
    by_head, decode = interface.function(DECODE_ATTENTION), interface.function(DECODE)
    if by_head.inputs != decode.inputs or set(by_head.outputs) != set(decode.outputs):
        raise _bad("decode_attention must have the inputs and outputs of decode")


def _check_extend(interface: Interface) -> None:
    several, rows = interface.function(EXTEND), interface.entries("text", "cache")
    if not interface.has(DECODE) or interface.entries("rolling"):
        raise _bad("extend needs decode, and a state without rolling entries")
    if set(several.inputs) != {"tokens", "position", *(entry.name for entry in interface.state)}:
        raise _bad("extend must take tokens, position and every state entry")
    if set(several.outputs) != {"logits", *(entry.new for entry in rows)}:
        raise _bad("extend must return logits and new_<entry> for entries that change")
    tokens = several.inputs["tokens"].shape
    n = tokens[1] if len(tokens) == 2 else None
    shapes = {entry.new: entry.rows(n).shape for entry in rows} if isinstance(n, int) else None
    found = {entry.new: several.outputs[entry.new].shape for entry in rows}
    if shapes != found:
        raise _bad("extend must take tokens [B,n], n a number, and return n rows of an entry")


def _check_stateful(interface: Interface) -> None:
    alone, cached = interface.function(DECODE_STATEFUL), interface.entries("cache")
    if not interface.has(DECODE) or not cached or len(cached) != len(interface.state):
        raise _bad("decode_stateful needs decode, and a state of cache entries")
    if set(alone.inputs) != {"token", "position", *(entry.image for entry in cached)}:
        raise _bad("decode_stateful must take token, position and <entry>_image of every entry")
    answers = set(interface.function(DECODE).outputs) - {entry.new for entry in cached}
    if set(alone.outputs) != answers:
        raise _bad("decode_stateful must return what decode does, without the new rows")


def _check_encode_text(interface: Interface) -> None:
    text = interface.function(ENCODE_TEXT)
    if set(text.inputs) != {"tokens", "length"} or set(text.outputs) != {"text_embedding"}:
        raise _bad("encode_text must map tokens and length to text_embedding")


_CHECKS: dict[str, Callable[[Interface], None]] = {
    ENCODE_CROP: _check_encode_crop,
    DECODE: _check_decode,
    DECODE_ATTENTION: _check_decode_attention,
    EXTEND: _check_extend,
    DECODE_STATEFUL: _check_stateful,
    ENCODE_TEXT: _check_encode_text,
}


def _bad(message: str) -> BundleError:
    return BundleError("bundle.interface", f"interface: {message}.")
