"""The cache as many exports have it: every step takes it in and returns all of it, one row longer.

The graphs are the bundle's own; `decode` gets an output more per tensor of the cache. The host
throws them away, so only their cost is measured.

Letters: C rows of a cache's tensor, P of them image rows.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np

from edgecap.benchmarks.peers.engine import EngineSession, Run, serve_bundle
from edgecap.bundle.io import Bundle
from edgecap.runtime.backends.onnx import session_options

BACKEND = "onnxruntime, whole cache returned"


def open_session(bundle: Bundle, threads: int) -> EngineSession:
    """The bundle on onnxruntime."""
    return EngineSession(bundle, threads, open_function)


def open_function(bundle: Bundle, name: str, threads: int) -> Run:
    import onnxruntime

    function = bundle.manifest.functions[name]
    options = session_options(onnxruntime, threads)
    path = str(bundle.file(function.file))
    model = _returning_cache(path, bundle) if name == "decode" else path
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # The whole caches come last, and are dropped after the call.
    names = [*function.outputs.values(), *(o.name for o in session.get_outputs())]
    names = list(dict.fromkeys(names))

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        feed = {function.inputs[key]: np.ascontiguousarray(value) for key, value in inputs.items()}
        values = session.run(names, feed)
        return dict(zip(function.outputs, values, strict=False))

    return run


def _returning_cache(path: str, bundle: Bundle) -> bytes:
    """The graph of `decode` with every tensor of the cache as a further output."""
    import onnx
    from onnx import helper, numpy_helper

    function, interface = bundle.manifest.functions["decode"], bundle.manifest.interface
    model = onnx.load(path)  # with its weights
    graph = model.graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    for entry in interface.entries("cache", "text"):
        sizes = interface.sizes(entry.shape, 1)
        old, new = function.inputs[entry.name], function.outputs[entry.new]
        first = interface.dims["P"] if entry.role == "cache" else 0
        rows = np.arange(sizes[-2], dtype=np.int32).reshape(-1, 1)  # [C,1]
        place, here, whole = (f"{old}_{what}" for what in ("place", "here", "whole"))
        column = np.array([-1] + [1] * (len(sizes) - 1))  # [B,1,1,1], of the same rank as the entry
        graph.initializer.append(numpy_helper.from_array(rows - first, f"{old}_rows"))
        graph.initializer.append(numpy_helper.from_array(column, f"{old}_column"))
        position = function.inputs["position"]  # [B]
        graph.node.extend(
            [
                helper.make_node("Cast", [position], [f"{place}_of"], to=onnx.TensorProto.INT32),
                helper.make_node("Reshape", [f"{place}_of", f"{old}_column"], [place]),
                helper.make_node("Equal", [f"{old}_rows", place], [here]),  # [B,1,C,1]
                helper.make_node("Where", [here, new, old], [whole]),  # […,C,Dh]
            ]
        )
        graph.output.append(helper.make_tensor_value_info(whole, kinds[old], None))
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    place = "edgecap.benchmarks.peers.naive_onnx:open_session"
    sys.exit(serve_bundle("onnx", BACKEND, place, sys.argv[1]))
