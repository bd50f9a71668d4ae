"""Validation of an untrusted .tflite file before a native interpreter opens it.

Interpreters do not check offsets and indices: a damaged or forged file makes them read outside the
file. This module checks all of them: tables, vectors, strings, indices of tensors, buffers,
operators and subgraphs, the sizes of constants, and the options of operators. The file is
memory-mapped; weights are not read.

Field numbers: TensorFlow Lite's schema.fbs, schema version 3; comments give the field names.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgecap.core.errors import BundleError
from edgecap.core.packed import AnyFile
from edgecap.inspection.contents import element_count
from edgecap.inspection.flat import Buffer, FlatError, Table
from edgecap.inspection.mapped import map_file
from edgecap.inspection.tflite import IDENTIFIER, number_of, operator_name
from edgecap.inspection.tflite_inputs import LEAST_INPUTS
from edgecap.inspection.tflite_names import BITS, DTYPES, name_of

# Options that hold vectors: number in the union -> (field, bytes of an element). A string is a
# vector of bytes followed by a zero byte, marked 0 here.
OPTIONS: dict[int, tuple[tuple[int, int], ...]] = {
    3: ((1, 4), (2, 4)),  # ConcatEmbeddings
    8: ((5, 1),),  # FullyConnected
    17: ((0, 4),),  # Reshape
    30: ((0, 4),),  # Squeeze
    111: ((0, 0), (1, 0)),  # VarHandle
    115: ((0, 4),),  # Bucketize
}
OPTIONS_2: dict[int, tuple[tuple[int, int], ...]] = {  # StableHLO, mostly int64
    2: ((0, 8),),
    3: ((0, 8), (1, 8), (2, 8)),
    4: ((0, 8), (1, 8), (2, 8), (3, 8), (4, 1), (7, 8), (10, 8), (13, 8), (16, 4)),
    5: ((0, 0), (2, 0), (4, 4), (5, 1)),
    6: ((0, 8),),
    7: ((1, 8), (2, 8), (3, 8)),
    9: ((0, 8),),
    10: ((0, 8), (1, 8), (2, 8)),
    12: ((0, 8), (1, 8), (2, 8), (3, 8), (4, 4)),
    13: ((0, 8), (1, 8), (2, 8), (3, 8), (4, 8)),
    16: ((0, 8), (1, 8), (2, 8), (4, 8)),
    17: ((0, 8),),
    21: ((0, 0), (2, 1)),
    23: ((0, 4),),
}
# Options that refer to subgraphs: number in the union -> fields.
CALLS: dict[int, tuple[int, ...]] = {16: (0,), 92: (0, 1), 93: (0, 1), 103: (0,)}
_SPARSE_WIDTHS = {1: 4, 2: 2, 3: 1}  # of SparseIndexVector


def check_tflite(path: AnyFile) -> None:
    """Raise BundleError (bundle.model, bundle.missing, bundle.truncated) unless a file is valid."""
    data = map_file(path)
    try:
        _Checker(Buffer(data).root(IDENTIFIER), len(data)).check()
    except ValueError as error:  # FlatError, and impossible shapes
        raise BundleError("bundle.model", f"{path} is not a valid TFLite model: {error}.") from None


class _Checker:
    def __init__(self, model: Table, size: int) -> None:
        self._model, self._size = model.checked(), size
        self._codes = _tables(model, 1)  # operator_codes
        self._subgraphs = _tables(model, 2)  # subgraphs
        self._buffers = [self._buffer(buffer) for buffer in _tables(model, 4)]  # buffers
        self._calls: dict[int, set[int]] = {}

    def check(self) -> None:
        if not self._subgraphs:
            raise FlatError("it has no subgraph")
        if self._model.vector(8, 4):  # external_buffer_groups
            raise FlatError("it refers to weights in other files")
        for code in self._codes:
            code.string(1)  # custom_code
        for index, subgraph in enumerate(self._subgraphs):
            self._subgraph(index, subgraph)
        self._check_recursion()
        self._model.string(3)  # description
        self._indices(self._model, 5, len(self._buffers), "buffer")  # metadata_buffer
        for entry in _tables(self._model, 6):  # metadata
            entry.string(0)  # name
            _within(entry.number(1, "I"), len(self._buffers), "buffer")  # buffer
        for signature in _tables(self._model, 7):  # signature_defs
            signature.string(2)  # signature_key
            index = signature.number(4, "I")  # subgraph_index
            _within(index, len(self._subgraphs), "subgraph")
            tensors = self._subgraphs[index].vector(0, 4)
            for side in (0, 1):  # inputs, outputs
                for entry in _tables(signature, side):
                    entry.string(0)  # name
                    _within(entry.number(1, "I"), tensors, "tensor")  # tensor_index

    def _buffer(self, buffer: Table) -> int:
        """Bytes of a buffer: inside the tables or, in files over 2 GB, after them."""
        offset, size = buffer.number(1, "Q"), buffer.number(2, "Q")  # offset, size
        if offset > 1 and offset + size > self._size:
            raise FlatError(f"a buffer ends at byte {offset + size}, outside the file")
        return size if offset > 1 else buffer.vector(0, 1)  # data

    def _subgraph(self, index: int, subgraph: Table) -> None:
        tensors = _tables(subgraph, 0)  # tensors
        for tensor in tensors:
            self._tensor(tensor)
        self._indices(subgraph, 1, len(tensors), "tensor")  # inputs
        self._indices(subgraph, 2, len(tensors), "tensor")  # outputs
        subgraph.string(4)  # name
        self._calls[index] = set()
        for operator in _tables(subgraph, 3):  # operators
            self._operator(operator, len(tensors))
            self._calls[index] |= self._called(operator)

    def _operator(self, operator: Table, tensors: int) -> None:
        code = operator.number(0, "I")  # opcode_index
        _within(code, len(self._codes), "operator")
        inputs = self._indices(operator, 1, tensors, "tensor", optional=True)  # inputs
        outputs = self._indices(operator, 2, tensors, "tensor")  # outputs
        least = LEAST_INPUTS.get(number_of(self._codes[code]), 0)
        if len(inputs) < least or -1 in inputs[:least] or (least and not outputs):
            name = operator_name(self._codes[code])
            raise FlatError(f"{name} has inputs {inputs[:8]} and outputs {outputs[:8]}")
        self._indices(operator, 8, tensors, "tensor", optional=True)  # intermediates
        operator.vector(7, 1)  # mutating_variable_inputs
        operator.vector(5, 1)  # custom_options
        offset, size = operator.number(9, "Q"), operator.number(10, "Q")  # large_custom_options_…
        if offset > 1 and offset + size > self._size:
            raise FlatError(f"options end at byte {offset + size}, outside the file")
        # builtin_options and builtin_options_2 with the types of both unions
        _options(operator.table(4), OPTIONS.get(operator.number(3, "B"), ()))
        _options(operator.table(12), OPTIONS_2.get(operator.number(11, "B"), ()))

    def _called(self, operator: Table) -> set[int]:
        """The subgraphs that an operator calls."""
        options = operator.table(4)
        fields = CALLS.get(operator.number(3, "B"), ()) if options else ()
        called = {options.number(field, "i") for field in fields}  # type: ignore[union-attr]
        for each in called:
            _within(each, len(self._subgraphs), "subgraph")
        return called

    def _tensor(self, tensor: Table) -> None:
        shape = tensor.numbers(0, "i")  # shape
        elements = element_count(shape)
        tensor.vector(7, 4)  # shape_signature
        tensor.string(3)  # name
        index = tensor.number(2, "I")  # buffer
        _within(index, len(self._buffers), "buffer")
        kind = tensor.number(1, "b")  # type
        _within(kind, len(DTYPES), "type")
        sparsity = tensor.table(6)  # sparsity
        if sparsity is not None:
            _sparsity(sparsity)
        bits, held = BITS.get(name_of(DTYPES, kind, "type"), 0), self._buffers[index]
        needs = -(-elements * bits // 8)
        if index and held and bits and sparsity is None and held != needs:
            raise FlatError(f"a constant of shape {shape[:8]} holds {held} bytes, not {needs}")
        quantization = tensor.table(4)  # quantization
        if quantization is not None:
            _quantization(quantization, shape)

    def _indices(
        self, table: Table, field: int, count: int, what: str, optional: bool = False
    ) -> list[int]:
        """Indices below `count`; with `optional`, -1 is allowed for an omitted one."""
        indices = table.numbers(field, "i")
        for index in indices:
            if index != -1 or not optional:
                _within(index, count, what)
        return indices

    def _check_recursion(self) -> None:
        """Raise FlatError for recursive subgraphs: interpreters would recurse endlessly."""
        waiting = dict(self._calls)
        while waiting:
            free = [index for index, called in waiting.items() if not called & waiting.keys()]
            if not free:
                raise FlatError(f"subgraph {min(waiting)} calls itself")
            for index in free:
                del waiting[index]


def _tables(table: Table, field: int) -> list[Table]:
    return [each.checked() for each in table.tables(field)]


def _options(options: Table | None, vectors: Iterable[tuple[int, int]]) -> None:
    if options is None:
        return
    for field, width in vectors:
        if width:
            options.vector(field, width)
        else:
            options.string(field)


def _quantization(quantization: Table, shape: list[int]) -> None:
    quantization.vector(0, 4)  # min
    quantization.vector(1, 4)  # max
    scales = quantization.vector(2, 4)  # scale
    zeros = quantization.vector(3, 8)  # zero_point
    axis = quantization.number(6, "i")  # quantized_dimension
    if scales > 1 and not (0 <= axis < len(shape) and shape[axis] == scales):
        raise FlatError(f"{scales} scales do not fit axis {axis} of shape {shape[:8]}")
    if zeros not in (0, 1, scales):
        raise FlatError(f"there are {zeros} zero points for {scales} scales")


def _sparsity(sparsity: Table) -> None:
    sparsity.vector(0, 4)  # traversal_order
    sparsity.vector(1, 4)  # block_map
    for dimension in _tables(sparsity, 2):  # dim_metadata
        for kind, field in ((2, 3), (4, 5)):  # array_segments, array_indices
            vector = dimension.table(field)
            if vector is not None:
                vector.vector(0, _SPARSE_WIDTHS.get(dimension.number(kind, "B"), 4))


def _within(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise FlatError(f"{what} {index} does not exist; there are {count}")
