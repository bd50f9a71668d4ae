"""Strict decoding of untrusted JSON into frozen dataclasses; runs no code from the input.

An unknown field is an error unless its name starts with `x_`: those are for other tools and are
ignored. A missing field is an error unless it has a default. Every error is a BundleError that
names the field.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from edgecap.core.errors import BundleError

MAX_JSON_BYTES = 4 << 20

T = TypeVar("T")


def read_json(file: Path, where: str) -> Any:
    """Parse a JSON file as `parse` does, reading at most MAX_JSON_BYTES. Also raises OSError."""
    with file.open("rb") as opened:
        return parse(opened.read(MAX_JSON_BYTES + 1), where)


def parse(data: bytes, where: str, limit: int = MAX_JSON_BYTES) -> Any:
    """JSON bytes into plain values.

    Raises BundleError for anything but one UTF-8 JSON text without duplicate keys and without
    NaN or Infinity, at most `limit` bytes long.
    """
    if len(data) > limit:
        raise BundleError("bundle.oversized", f"{where} is larger than the limit of {limit} bytes.")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for name, value in pairs:
            if name in table:
                raise BundleError("bundle.duplicate_key", f"{where} has the key {name!r} twice.")
            table[name] = value
        return table

    def refuse(constant: str) -> Any:
        raise BundleError("bundle.json", f"{where} holds {constant}, which is not JSON.")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise BundleError("bundle.json", f"{where} is not valid JSON: {reason}.") from None


def dump(value: Any) -> bytes:
    """A dataclass (or plain value) as readable JSON, the same bytes for the same value."""
    known = dataclasses.is_dataclass(value) and not isinstance(value, type)
    plain = dataclasses.asdict(value) if known else value
    text = json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8")


def decode(kind: type[T], value: Any, where: str) -> T:
    """Decode plain values into the dataclass `kind`; `where` names the value in errors."""
    decoded: T = _decode(kind, value, where)
    return decoded


def _decode(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        kinds = [argument for argument in arguments if argument is not type(None)]
        # Of several scalar types (int or str), the one of the value; otherwise the first.
        fits = [kind for kind in kinds if len(kinds) > 1 and isinstance(value, kind)]
        return _decode((fits or kinds)[0], value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        return tuple(_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is Any:
        return value
    return _decode_scalar(kind, value, where)


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    hints = _hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = [key for key in value if key not in fields and not key.startswith("x_")]
    if unknown:
        raise BundleError(
            "bundle.unknown_field",
            f"{where} has the unknown field {unknown[0]!r}; known: {', '.join(fields)}.",
            "Names of custom fields must start with x_.",
        )
    missing = [
        name
        for name, field in fields.items()
        if name not in value and field.default is dataclasses.MISSING
    ]
    if missing:
        raise BundleError("bundle.missing_field", f"{where} lacks the field {missing[0]!r}.")
    given = [name for name in fields if name in value]
    return kind(**{name: _decode(hints[name], value[name], f"{where}.{name}") for name in given})


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    """The types of a dataclass's fields; kept, since a manifest has hundreds of values of a few."""
    return typing.get_type_hints(kind)


def _decode_scalar(kind: Any, value: Any, where: str) -> Any:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise BundleError("bundle.field_type", f"{where} is a number of more than 64 bits.")
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise _wrong(where, "a finite number", value)
        return float(value)
    if kind is int and isinstance(value, bool):
        raise _wrong(where, "a whole number", value)
    if not isinstance(value, kind):
        names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
        raise _wrong(where, names[kind], value)
    return value


def _wrong(where: str, expected: str, value: Any) -> BundleError:
    shown = json.dumps(value)[:40]
    return BundleError("bundle.field_type", f"{where} must be {expected}, got {shown}.")
