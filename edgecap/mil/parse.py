"""From decoded protobuf records to the typed data of mil.py."""

from __future__ import annotations

import math

import numpy as np

from edgecap.core.protobuf import Record
from edgecap.mil.dtypes import BY_CODE, BY_NAME, STRING, packed_size, unpack
from edgecap.mil.mil import Blob, Block, Feature, Function, Named, Operation, Value, ValueType
from edgecap.mil.schema import ARRAY_DTYPES, COLOURS

MAX_RANK = 32
MAX_DECLARED = 1 << 48  # elements; larger shapes only occur in forged files


class MalformedModel(ValueError):
    """A message that decodes but is not valid; the text names the place."""


def functions_of(program: Record, description: Record) -> dict[str, Function]:
    """The functions of a Program, each with its features from the ModelDescription."""
    described = {each["name"]: each for each in description["functions"]}
    functions = {}
    for name, record in program["functions"].items():
        features = described.get(name)
        if features is None:
            features = description  # a single function: its features are in the description itself
        functions[name] = Function(
            name,
            record["opset"],
            tuple(_named(each) for each in record["inputs"]),
            _main_block(name, record),
            tuple(_feature(each) for each in features["input"]),
            tuple(_feature(each) for each in features["output"]),
            tuple(_feature(each) for each in features["state"]),
        )
    if not functions:
        raise MalformedModel("the program has no function")
    return functions


def _main_block(name: str, function: Record) -> Block:
    blocks = function["block_specializations"]
    if function["opset"] not in blocks:
        raise MalformedModel(f"function {name} has no block for its opset {function['opset']!r}")
    return _block(blocks[function["opset"]])


def _block(record: Record) -> Block:
    operations = tuple(_operation(each) for each in record["operations"])
    return Block(operations, tuple(record["outputs"]))


def _operation(record: Record) -> Operation:
    inputs = {
        name: tuple(_binding(each) for each in argument["arguments"])
        for name, argument in record["inputs"].items()
    }
    return Operation(
        record["type"],
        inputs,
        tuple(_named(each) for each in record["outputs"]),
        {name: _value(each) for name, each in record["attributes"].items()},
        tuple(_block(each) for each in record["blocks"]),
    )


def _binding(record: Record) -> str | Value:
    return record["name"] if record["value"] is None else _value(record["value"])


def _named(record: Record) -> Named:
    return Named(record["name"], _type(record["type"], record["name"]))


def _type(record: Record | None, where: str) -> ValueType:
    if record is None:
        raise MalformedModel(f"{where} has no type")
    if record["stateType"] is not None:
        inner = _type(record["stateType"]["wrappedType"], where)
        return ValueType("state", inner.dtype, inner.shape)
    tensor = record["tensorType"]
    if tensor is None:
        kinds = ("list", "tuple", "dictionary")
        return ValueType(next((k for k in kinds if record[f"{k}Type"] is not None), "unknown"))
    code = tensor["dataType"]
    if code != STRING and code not in BY_CODE:
        raise MalformedModel(f"{where} has elements of unknown type {code}")
    dtype = "string" if code == STRING else BY_CODE[code].name
    shape = tuple(_size(each) for each in tensor["dimensions"])
    if len(shape) > MAX_RANK or math.prod(size or 1 for size in shape) > MAX_DECLARED:
        raise MalformedModel(f"{where} has an impossible shape")
    return ValueType("tensor", dtype, shape)


def _size(dimension: Record) -> int | None:
    constant = dimension["constant"]
    return None if constant is None else constant["size"]


def _value(record: Record) -> Value:
    type_ = _type(record["type"], "a constant")
    blob = record["blobFileValue"]
    if blob is not None:
        return Value(type_, blob=Blob(blob["fileName"], blob["offset"]))
    immediate = record["immediateValue"]
    if immediate is None or immediate["tensor"] is None or type_.kind != "tensor":
        return Value(type_)
    return Value(type_, _immediate(type_, immediate["tensor"]))


def _immediate(type_: ValueType, tensor: Record) -> np.ndarray | str | tuple[str, ...]:
    shape = [size for size in type_.shape if size is not None]
    count = math.prod(shape)
    filled = next(iter(tensor), None)  # the field that is set (a oneof)
    values = [] if filled is None else tensor[filled]["values"]
    if type_.dtype == "string":
        if filled != "strings" or len(values) != count:
            raise MalformedModel(f"a constant {type_} holds {len(values)} strings")
        return values[0] if not shape else tuple(values)
    dtype = BY_NAME[type_.dtype]
    if filled == "bytes":
        if len(values) != packed_size(dtype, count):
            raise MalformedModel(f"a constant {type_} holds {len(values)} bytes")
        data = np.frombuffer(bytes(values), np.uint8)
        return unpack(data, dtype, count).reshape(shape)
    if filled == "strings" or len(values) != count or len(shape) != len(type_.shape):
        raise MalformedModel(f"a constant {type_} holds {len(values)} values")
    try:
        return np.array(values, dtype.stored).reshape(shape)
    except (OverflowError, ValueError):
        raise MalformedModel(f"a constant {type_} holds a number outside its range") from None


def _feature(record: Record) -> Feature:
    name, type_ = record["name"], record["type"]
    if type_ is None:
        raise MalformedModel(f"feature {name} has no type")
    optional = type_["isOptional"]
    image, array, state = type_["imageType"], type_["multiArrayType"], type_["stateType"]
    if image is not None:
        return Feature(
            name,
            "image",
            flexible="enumeratedSizes" in image or "imageSizeRange" in image,
            colour=COLOURS.get(image["colorSpace"], "unknown"),
            size=(image["width"], image["height"]),
            optional=optional,
        )
    if state is not None:
        array = state["arrayType"]
    if array is not None:
        return Feature(
            name,
            "multi_array" if state is None else "state",
            ARRAY_DTYPES.get(array["dataType"], "unknown"),
            tuple(array["shape"]),
            flexible="enumeratedShapes" in array or "shapeRange" in array,
            optional=optional,
        )
    kinds = ("int64", "double", "string", "dictionary", "sequence")
    kind = next((k for k in kinds if type_[f"{k}Type"] is not None), "unknown")
    return Feature(name, kind, optional=optional)
