"""Rewriting ONNX graphs: weights as float16, and all weights in one shared file.

`int8` has the passes to int8.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecap.exporters.thresholds import WIDE_ELEMENTS

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

ALIGNMENT = 64  # bytes, of each tensor in the weights file


def clean(model: ModelProto) -> None:
    """Drop what only the tracer needs: stack traces (they hold paths), inferred shapes."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    del graph.value_info[:]
    graph.name = "main"


def halve(model: ModelProto) -> None:
    """Store large constants as float16 and cast them where they are used.

    A runtime folds the casts when it loads the file, so arithmetic stays float32 on a CPU; k, v
    and the logits keep their type, and no host needs to know.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or _elements(tensor) < WIDE_ELEMENTS:
            continue
        name, half = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.fp16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    replace_nodes(model, [*casts, *graph.node])


def prune(model: ModelProto) -> None:
    """Drop constants that no node reads."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def share_weights(models: list[ModelProto], path: Path) -> None:
    """Move every constant of 1 KiB or more into the file `path`, equal ones once."""
    from onnx import TensorProto

    places: dict[bytes, tuple[int, int]] = {}  # content -> offset, length
    with path.open("wb") as file:
        for model in models:
            for tensor in model.graph.initializer:
                if len(tensor.raw_data) < 1024:
                    continue
                raw = tensor.raw_data
                digest = hashlib.sha256(raw).digest()
                if digest not in places:
                    file.write(b"\0" * (-file.tell() % ALIGNMENT))
                    places[digest] = (file.tell(), len(raw))
                    file.write(raw)
                offset, length = places[digest]
                tensor.ClearField("raw_data")
                tensor.data_location = TensorProto.EXTERNAL
                place = {"location": path.name, "offset": str(offset), "length": str(length)}
                for key, value in place.items():
                    tensor.external_data.add(key=key, value=value)


def _elements(tensor: TensorProto) -> int:
    return int(np.prod(tensor.dims))


def replace_nodes(model: ModelProto, nodes: list[NodeProto]) -> None:
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
