"""A .tflite file as a tree of objects, and one of its subgraphs to read and extend.

Nothing here knows what is done to a graph; the passes do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from edgecap.core.lazy import require


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
        if not self.is_constant(index) or tensor.type != schema().TensorType.FLOAT32:
            return None
        data = bytes(self.model.buffers[tensor.buffer].data)
        return np.frombuffer(data, np.float32).reshape(tensor.shape)

    def is_constant(self, index: int) -> bool:
        """Whether a tensor has a value in the file, of any type."""
        data = self.model.buffers[self.subgraph.tensors[index].buffer].data
        return data is not None and len(data) > 0

    def integers(self, index: int) -> list[int]:
        """The values of an int32 constant; none for any other tensor."""
        tensor = self.subgraph.tensors[index]
        if not self.is_constant(index) or tensor.type != schema().TensorType.INT32:
            return []
        data = bytes(self.model.buffers[tensor.buffer].data)
        return [int(value) for value in np.frombuffer(data, np.int32)]

    def shape(self, index: int) -> list[int]:
        """The shape of a tensor."""
        shape = self.subgraph.tensors[index].shape
        return [] if shape is None else [int(size) for size in shape]

    def reshaped(self, index: int, shape: Sequence[int]) -> int:
        """A constant once more, with another shape."""
        tensor = self.subgraph.tensors[index]
        other = self.add_tensor(shape, tensor.type)
        self.subgraph.tensors[other].buffer = tensor.buffer
        return other

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
        """A new operator, not yet in the graph; `options`: a <Something>T object, or None."""
        module = schema()
        operator = module.OperatorT()
        operator.opcodeIndex = self._opcode(getattr(module.BuiltinOperator, code))
        operator.inputs, operator.outputs = inputs, outputs
        name = "NONE" if options is None else type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(module.BuiltinOptions, name)
        operator.builtinOptions = options
        return operator

    def code(self, operator: Any) -> int:
        """The builtin code of an operator, of schema().BuiltinOperator."""
        return builtin(self.model.operatorCodes[operator.opcodeIndex])

    def name(self, operator: Any) -> str:
        """The name of an operator's builtin code, such as FULLY_CONNECTED."""
        return _names()[self.code(operator)]

    def replace(self, index: int, type_: int, value: np.ndarray, scale: float | None) -> None:
        """Give a constant another type and value."""
        tensor = self.subgraph.tensors[index]
        tensor.type, tensor.buffer = type_, self._add_buffer(value)
        if scale is not None:
            self.put_on_grid(index, scale, 0)

    def put_on_grid(self, index: int, scale: float, zero_point: int) -> None:
        """Say what an integer tensor stands for: real = scale * (integer - zero_point)."""
        parameters = schema().QuantizationParametersT()
        parameters.scale = np.array([scale], np.float32)
        parameters.zeroPoint = np.array([zero_point], np.int64)
        self.subgraph.tensors[index].quantization = parameters

    def _add_buffer(self, value: np.ndarray) -> int:
        buffer = schema().BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def _opcode(self, kind: int) -> int:
        codes = self.model.operatorCodes
        for index, code in enumerate(codes):
            if builtin(code) == kind:
                return index
        code = schema().OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = kind, min(kind, 127), 1
        codes.append(code)
        return len(codes) - 1


@cache
def _names() -> dict[int, str]:
    codes = vars(schema().BuiltinOperator)
    return {code: name for name, code in codes.items() if isinstance(code, int)}


def builtin(code: Any) -> int:
    """The operator that an entry of `operatorCodes` stands for."""
    return max(code.builtinCode, code.deprecatedBuiltinCode)
