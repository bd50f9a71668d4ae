"""Reading .tflite files: signatures or subgraphs, operators, constants.

Field numbers: TensorFlow Lite's schema.fbs, schema version 3; comments give the field names.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TypeVar

from edgecap.core.errors import BundleError
from edgecap.inspection.contents import (
    Contents,
    FunctionInfo,
    Tally,
    Tensor,
    Weights,
    element_count,
    most_frequent_first,
)
from edgecap.inspection.flat import Buffer, FlatError, Table
from edgecap.inspection.mapped import map_file
from edgecap.inspection.tflite_names import CUSTOM, DTYPES, OPERATORS, name_of

IDENTIFIER = b"TFL3"
Item = TypeVar("Item")


def read(path: Path) -> Contents:
    """Describe a .tflite file; raises BundleError as `read_contents`."""
    data = map_file(path)
    try:
        return _Model(Buffer(data).root(IDENTIFIER), len(data)).contents()
    except ValueError as error:  # FlatError, and impossible shapes
        raise BundleError("bundle.model", f"{path} is not a TFLite model: {error}.") from None


class _Model:
    def __init__(self, model: Table, size: int) -> None:
        self._model, self._size = model, size
        self._operators = [operator_name(code) for code in model.tables(1)]  # operator_codes
        self._buffers = model.tables(4)  # buffers
        self._subgraphs = model.tables(2)  # subgraphs
        self._tensors = [subgraph.tables(0) for subgraph in self._subgraphs]  # tensors
        if not self._subgraphs:
            raise FlatError("it has no subgraph")

    def contents(self) -> Contents:
        version = f"schema {self._model.number(0, 'I')}"  # version
        needs = self._runtime()
        return Contents(
            "tflite",
            f"{version}, runtime {needs} or newer" if needs else version,
            self._model.text(3),  # description
            self._size,
            self._functions(),
            self._weights(),
        )

    def _runtime(self) -> str:
        """The oldest runtime that supports the file, from the converter's metadata."""
        for entry in self._model.tables(6):  # metadata
            if entry.text(0) == "min_runtime_version":  # name
                buffer = _item(self._buffers, entry.number(1, "I"), "buffer")  # buffer
                return str(buffer.bytes(0)[:64], "ascii", "replace").rstrip("\0")
        return ""

    def _functions(self) -> tuple[FunctionInfo, ...]:
        """The signatures, then the subgraphs that no signature names."""
        functions, named = [], set()
        for signature in self._model.tables(7):  # signature_defs
            index = signature.number(4, "I")  # subgraph_index
            named.add(index)
            inputs, outputs = (  # TensorMap: name, tensor_index
                [(m.text(0), m.number(1, "I")) for m in signature.tables(side)] for side in (0, 1)
            )
            functions.append(self._function(signature.text(2), index, inputs, outputs))
        for index, subgraph in enumerate(self._subgraphs):
            if index not in named:
                name = subgraph.text(4) or f"subgraph {index}"  # name
                inputs, outputs = (
                    [("", i) for i in subgraph.numbers(side, "i")] for side in (1, 2)
                )
                functions.append(self._function(name, index, inputs, outputs))
        return tuple(functions)

    def _function(
        self, name: str, index: int, inputs: list[tuple[str, int]], outputs: list[tuple[str, int]]
    ) -> FunctionInfo:
        subgraph = _item(self._subgraphs, index, "subgraph")
        tensors = self._tensors[index]
        codes = [operator.number(0, "I") for operator in subgraph.tables(3)]  # opcode_index
        ops = Counter(_item(self._operators, code, "operator") for code in codes)
        subgraph.buffer.spend(4 * len(tensors))  # for every signature that names them
        variables = [tensor for tensor in tensors if tensor.number(5, "?")]  # is_variable
        return FunctionInfo(
            name,
            tuple(_tensor(_item(tensors, i, "tensor"), n) for n, i in inputs),
            tuple(_tensor(_item(tensors, i, "tensor"), n) for n, i in outputs),
            tuple(_tensor(tensor) for tensor in variables),
            most_frequent_first(ops),
        )

    def _weights(self) -> tuple[Weights, ...]:
        """Non-empty buffers, by the type of the first tensor that uses them."""
        tally = Tally()
        for tensors in self._tensors:
            for tensor in tensors:
                index = tensor.number(2, "I")  # buffer
                size = self._buffer_size(_item(self._buffers, index, "buffer"))
                if size:
                    elements = element_count(tensor.numbers(0, "i"))  # shape
                    tally.add(_dtype(tensor), elements, size, index)
        return tally.weights()

    def _buffer_size(self, buffer: Table) -> int:
        """Bytes of a buffer: inside the tables or, in files over 2 GB, after them."""
        offset, size = buffer.number(1, "Q"), buffer.number(2, "Q")  # offset, size
        if offset > 1 and offset + size > self._size:
            raise FlatError(f"a buffer ends at byte {offset + size}, outside the file")
        return size if offset > 1 else len(buffer.bytes(0))  # data


def number_of(code: Table) -> int:
    """The operator number of an entry of operator_codes."""
    # A signed byte up to operator 127, an int32 since then; the larger value is valid.
    return max(code.number(0, "b"), code.number(3, "i"))  # deprecated_builtin_code, builtin_code


def operator_name(code: Table) -> str:
    """The name of an entry of operator_codes."""
    number = number_of(code)
    custom = code.text(1) if number == CUSTOM else ""  # custom_code
    return custom or name_of(OPERATORS, number, "operator")


def _tensor(tensor: Table, name: str = "") -> Tensor:
    sizes = tensor.numbers(7, "i") or tensor.numbers(0, "i")  # shape_signature, shape
    shape = tuple(None if size < 0 else size for size in sizes)
    return Tensor(name or tensor.text(3), _dtype(tensor), shape)  # name


def _dtype(tensor: Table) -> str:
    return name_of(DTYPES, tensor.number(1, "b"), "type")  # type


def _item(items: list[Item], index: int, what: str) -> Item:
    if not 0 <= index < len(items):
        raise FlatError(f"{what} {index} does not exist; there are {len(items)}")
    return items[index]
