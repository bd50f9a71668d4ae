"""Rewriting .tflite files: weights as float16, equal buffers once, no idle tensors, names.

tflite_int8 has the passes to int8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecap.exporters.tflite.graph import Graph, builtin, schema
from edgecap.exporters.thresholds import WIDE_ELEMENTS


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
        if builtin(code) == module.BuiltinOperator.DEQUANTIZE:
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


def drop_unused_tensors(model: Any) -> None:
    """Leave out the tensors that no operator of a subgraph reads or writes any more."""
    for number, subgraph in enumerate(model.subgraphs):
        used = {int(index) for index in (*subgraph.inputs, *subgraph.outputs)}
        for operator in subgraph.operators:
            used |= {int(index) for index in (*operator.inputs, *operator.outputs)}
        kept = sorted(used - {-1})  # -1: an input that is left out
        places = {index: place for place, index in enumerate(kept)} | {-1: -1}
        subgraph.tensors = [subgraph.tensors[index] for index in kept]
        for lists in (subgraph, *subgraph.operators):
            lists.inputs = [places[int(index)] for index in lists.inputs]
            lists.outputs = [places[int(index)] for index in lists.outputs]
        for signature in model.signatureDefs:
            if signature.subgraphIndex == number:
                for entry in (*signature.inputs, *signature.outputs):
                    entry.tensorIndex = places[entry.tensorIndex]


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


def _order(entry: Any) -> int:
    """Position of `args_3` or `output_3`."""
    return int(entry.name.decode().rpartition("_")[2])
