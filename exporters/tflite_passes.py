"""Rewriting .tflite files: weights in a narrower type, equal buffers once, names of the contract.

Letters: N outputs, K inputs of a linear layer (TFLite stores [N,K]); V vocabulary, D width.

Int8 weights carry one scale per tensor, 1, and the scale of each row is multiplied onto the result.
TFLite has scales per row as well, but tflite-runtime 2.14 ignores those of FULLY_CONNECTED and
EMBEDDING_LOOKUP and returns zeros without a word; this form is right on every version, and stores
each scale once instead of once per signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecap.core.lazy import require
from edgecap.exporters.quantise import rows

TABLE_ELEMENTS = 1 << 15  # a smaller table that is only looked up in is not worth quantising
WIDE_ELEMENTS = 1 << 10  # smaller constants stay float32


def schema() -> Any:
    """The generated classes of the file format."""
    require("ai_edge_litert", "export")
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def read(data: bytes) -> Any:
    """A .tflite file as a tree of objects."""
    module = schema()
    return module.ModelT.InitFromObj(module.Model.GetRootAs(bytearray(data), 0))


def write(model: Any) -> bytes:
    """The bytes of a .tflite file."""
    import flatbuffers  # type: ignore[import-untyped]

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@dataclass(frozen=True)
class Graph:
    """One subgraph, and the ways to read and extend it."""

    model: Any
    subgraph: Any

    def constant(self, index: int) -> np.ndarray | None:
        """The value of a float32 constant, or None for any other tensor."""
        tensor = self.subgraph.tensors[index]
        data = self.model.buffers[tensor.buffer].data
        if data is None or not len(data) or tensor.type != schema().TensorType.FLOAT32:
            return None
        return np.frombuffer(bytes(data), np.float32).reshape(tensor.shape)

    def add_tensor(self, shape: Any, type_: int, value: np.ndarray | None = None) -> int:
        """A new tensor, constant where a value is given; returns its index."""
        module = schema()
        tensor = module.TensorT()
        tensor.shape, tensor.type, tensor.name = np.asarray(shape, np.int32), type_, b""
        tensor.buffer = 0
        if value is not None:
            tensor.buffer = self._add_buffer(value)
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1

    def operator(self, code: str, inputs: list[int], outputs: list[int], options: Any) -> Any:
        """A new operator, not yet in the graph. `options` is an object named <Something>T."""
        module = schema()
        operator = module.OperatorT()
        operator.opcodeIndex = self._opcode(getattr(module.BuiltinOperator, code))
        operator.inputs, operator.outputs = inputs, outputs
        name = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(module.BuiltinOptions, name)
        operator.builtinOptions = options
        return operator

    def code(self, operator: Any) -> int:
        return _builtin(self.model.operatorCodes[operator.opcodeIndex])

    def replace(self, index: int, type_: int, value: np.ndarray, scale: float | None) -> None:
        """Give a constant another type and value."""
        tensor = self.subgraph.tensors[index]
        tensor.type, tensor.buffer = type_, self._add_buffer(value)
        if scale is not None:
            tensor.quantization = schema().QuantizationParametersT()
            tensor.quantization.scale = np.array([scale], np.float32)
            tensor.quantization.zeroPoint = np.array([0], np.int64)

    def _add_buffer(self, value: np.ndarray) -> int:
        buffer = schema().BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def _opcode(self, builtin: int) -> int:
        codes = self.model.operatorCodes
        for index, code in enumerate(codes):
            if _builtin(code) == builtin:
                return index
        code = schema().OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
        codes.append(code)
        return len(codes) - 1


def quantise(model: Any) -> None:
    """Linear layers and large tables to int8; the runtime quantises activations as they come."""
    codes = schema().BuiltinOperator
    for subgraph in model.subgraphs:
        graph = Graph(model, subgraph)
        scales: dict[int, np.ndarray] = {}
        operators = []
        for operator in subgraph.operators:
            if graph.code(operator) == codes.FULLY_CONNECTED:
                operators += _linear(graph, operator, scales)
            elif graph.code(operator) == codes.EMBEDDING_LOOKUP:
                operators += _lookup(graph, operator, scales)
            else:
                operators.append(operator)
        subgraph.operators = operators
    versions = {codes.FULLY_CONNECTED: 3, codes.EMBEDDING_LOOKUP: 1}
    for code in model.operatorCodes:  # what a runtime must know to run int8 weights
        code.version = max(code.version, versions.get(_builtin(code), 1))


def halve(model: Any) -> None:
    """Store large constants as float16, widened by DEQUANTIZE where they are used."""
    module = schema()
    for subgraph in model.subgraphs:
        graph, widen = Graph(model, subgraph), []
        renamed: dict[int, int] = {}
        for index in range(len(subgraph.tensors)):
            value = graph.constant(index)
            if value is None or value.size < WIDE_ELEMENTS:
                continue
            renamed[index] = graph.add_tensor(value.shape, module.TensorType.FLOAT32)
            graph.replace(index, module.TensorType.FLOAT16, value.astype(np.float16), None)
            widen.append(
                graph.operator("DEQUANTIZE", [index], [renamed[index]], module.DequantizeOptionsT())
            )
        for operator in subgraph.operators:
            operator.inputs = [renamed.get(index, index) for index in operator.inputs]
        subgraph.operators = widen + list(subgraph.operators)
    for code in model.operatorCodes:
        if _builtin(code) == module.BuiltinOperator.DEQUANTIZE:
            code.version = 3  # float16 input


def finish(model: Any, signatures: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]) -> None:
    """Name inputs and outputs as the contract does, and drop the inner names."""
    for signature in model.signatureDefs:
        inputs, outputs = signatures[signature.signatureKey.decode()]
        for maps, names in ((signature.inputs, inputs), (signature.outputs, outputs)):
            for entry, name in zip(sorted(maps, key=_order), names, strict=True):
                entry.name = name.encode()
        subgraph = model.subgraphs[signature.subgraphIndex]
        for tensor in subgraph.tensors:
            tensor.name = b""
        for entry in (*signature.inputs, *signature.outputs):
            subgraph.tensors[entry.tensorIndex].name = entry.name


def _linear(graph: Graph, operator: Any, scales: dict[int, np.ndarray]) -> list[Any]:
    """FULLY_CONNECTED with constant weights: int8 [N,K], and its result times the scales [N]."""
    options = operator.builtinOptions
    has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
    assert not has_bias and not options.fusedActivationFunction  # none in this model
    _to_int8(graph, operator.inputs[1], scales)
    scale = _constant(graph, scales[operator.inputs[1]])
    return [operator, _scaled(graph, operator, scale)]


def _lookup(graph: Graph, operator: Any, scales: dict[int, np.ndarray]) -> list[Any]:
    """EMBEDDING_LOOKUP in a large table: int8 rows [V,D], times the scale of each row [V]."""
    ids, table = operator.inputs
    if np.prod(graph.subgraph.tensors[table].shape) < TABLE_ELEMENTS:
        return [operator]
    _to_int8(graph, table, scales)
    count = graph.subgraph.tensors[ids].shape[0]
    scale = graph.add_tensor([count, 1], schema().TensorType.FLOAT32)
    column = _constant(graph, scales[table][:, None])  # [V,1]
    gather = graph.operator("GATHER", [column, ids], [scale], schema().GatherOptionsT())
    return [operator, gather, _scaled(graph, operator, scale)]


def _to_int8(graph: Graph, index: int, scales: dict[int, np.ndarray]) -> None:
    """Quantise a constant [N,K] once, whoever reads it; its scales [N] go to `scales[index]`."""
    if index in scales:
        return  # the token table is the output head too
    weight = graph.constant(index)
    assert weight is not None  # every linear layer of this model has constant weights
    quantised, scales[index] = rows(weight)
    graph.replace(index, schema().TensorType.INT8, quantised, 1.0)


def _scaled(graph: Graph, operator: Any, factor: int) -> Any:
    """A MUL that takes over the output of `operator`, which gets a new tensor to write to."""
    module = schema()
    out = operator.outputs[0]
    raw = graph.add_tensor(graph.subgraph.tensors[out].shape, module.TensorType.FLOAT32)
    operator.outputs = [raw]
    return graph.operator("MUL", [raw, factor], [out], module.MulOptionsT())


def _constant(graph: Graph, value: np.ndarray) -> int:
    return graph.add_tensor(value.shape, schema().TensorType.FLOAT32, value)


def merge_buffers(model: Any) -> None:
    """Point tensors of equal content at one buffer and drop the rest; buffer 0 stays empty."""
    kept: list[Any] = [model.buffers[0]]
    places: dict[bytes, int] = {}
    moved: dict[int, int] = {}
    readers = [tensor for subgraph in model.subgraphs for tensor in subgraph.tensors]
    for reader in (*readers, *(model.metadata or ())):
        if reader.buffer not in moved:
            buffer = model.buffers[reader.buffer]
            data = b"" if buffer.data is None else bytes(buffer.data)
            digest = hashlib.sha256(data).digest()
            if data and digest not in places:
                places[digest] = len(kept)
                kept.append(buffer)
            moved[reader.buffer] = places[digest] if data else 0
        reader.buffer = moved[reader.buffer]
    model.buffers = kept


def _builtin(code: Any) -> int:
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def _order(entry: Any) -> int:
    """Position of `args_3` or `output_3`."""
    return int(entry.name.decode().rpartition("_")[2])
