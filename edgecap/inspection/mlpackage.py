"""Reading .mlpackage directories: the functions of an ML program and the storage of its weights."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from edgecap.inspection.contents import Contents, FunctionInfo, Tally, Tensor, most_frequent_first
from edgecap.mil.dtypes import BY_NAME, packed_size
from edgecap.mil.mil import Block, Feature, Operation, Value, ValueType
from edgecap.mil.package import SPEC_VERSIONS, Package, open_package

TOOL, SOURCE = "com.github.apple.coremltools.version", "com.github.apple.coremltools.source"


def read(path: Path) -> Contents:
    """Describe a .mlpackage that holds an ML program; raises BundleError as `read_contents`."""
    package = open_package(path)
    walker = _Walker(package)
    functions = tuple(
        FunctionInfo(
            name,
            tuple(_tensor(feature) for feature in function.input_features),
            tuple(_tensor(feature) for feature in function.output_features),
            tuple(_tensor(feature) for feature in function.state_features),
            most_frequent_first(Counter(walker.walk(function.block))),
        )
        for name, function in sorted(package.functions.items())  # a file has no order
    )
    opsets = sorted({function.opset for function in package.functions.values()})
    version = package.spec_version
    return Contents(
        "coreml",
        f"specification {version} ({SPEC_VERSIONS[version]}), opset {', '.join(opsets)}",
        _producer(package),
        _size(path),
        functions,
        walker.tally.weights(),
    )


class _Walker:
    """Lists operations and sums up constants; a weight shared by functions counts once."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self.tally = Tally()

    def walk(self, block: Block) -> Iterator[str]:
        for operation in block.operations:
            for name, value in _constants(operation):
                self._package.check(value)
                size = packed_size(BY_NAME[value.type.dtype], _count(value.type))
                kind, elements = _stored_as(operation, name, value.type)
                self.tally.add(kind, elements, size, value.blob)
            if operation.type != "const":
                yield operation.type
            for inner in operation.blocks:
                yield from self.walk(inner)


def _constants(operation: Operation) -> Iterator[tuple[str, Value]]:
    """The constant tensors of an operation, by input or attribute name."""
    carried: list[tuple[str, Value | str]] = list(operation.attributes.items())
    carried += [(name, each) for name, bound in operation.inputs.items() for each in bound]
    for name, value in carried:
        if isinstance(value, Value) and value.type.dtype in BY_NAME:
            yield name, value


def _stored_as(operation: Operation, name: str, type_: ValueType) -> tuple[str, int]:
    """Kind and element count of a constant; for packed constants, the unpacked count."""
    unpacked = _count(operation.outputs[0].type) if operation.outputs else 0
    if "lut_to" in operation.type and name == "indices":
        return f"palettised {_index_bits(operation, type_)}-bit", unpacked
    if "sparse_to_dense" in operation.type and name == "mask":
        return "sparse mask", unpacked
    if "sparse_to_dense" in operation.type and name == "nonzero_data":
        return f"sparse {type_.dtype}", _count(type_)
    return type_.dtype, _count(type_)


def _index_bits(operation: Operation, type_: ValueType) -> int:
    """Bits of an index: by its type, or for packed bytes (iOS 16) by the size of the table."""
    lut = operation.attributes.get("lut")
    if lut is None:
        return BY_NAME[type_.dtype].bits
    return max(_count(lut.type) - 1, 1).bit_length()


def _count(type_: ValueType) -> int:
    return math.prod(size or 0 for size in type_.shape)


def _tensor(feature: Feature) -> Tensor:
    note = ", ".join(word for word in ("flexible", "optional") if getattr(feature, word))
    if feature.kind == "image":
        width, height = feature.size
        return Tensor(feature.name, f"{feature.colour} image", (height, width), note)
    return Tensor(feature.name, feature.dtype or feature.kind, feature.shape, note)


def _producer(package: Package) -> str:
    tools = package.metadata.tools
    version = f"coremltools {tools[TOOL]}" if TOOL in tools else ""
    return ", from ".join(part for part in (version, tools.get(SOURCE, "")) if part)


def _size(path: Path) -> int:
    files = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    return sum(file.lstat().st_size for file in files)
