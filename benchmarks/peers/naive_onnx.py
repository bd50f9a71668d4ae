"""The cache as many exports have it: every step takes it in and returns all of it, one row longer.

The graphs are the bundle's own; `decode` gets two more outputs. The host throws them away, so only
their cost is measured.

Letters: L layers, B batch, H heads, P image rows, C rows of the cache, Dh head width.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np

from edgecap.benchmarks.peers.engine import EngineSession, Run, serve_bundle
from edgecap.bundle.io import Bundle

BACKEND = "onnxruntime, whole cache returned"
WHOLE = {"k": "k_whole", "v": "v_whole"}


def open_session(bundle: Bundle, threads: int) -> EngineSession:
    """The bundle on onnxruntime."""
    return EngineSession(bundle, threads, open_function)


def open_function(bundle: Bundle, name: str, threads: int) -> Run:
    import onnxruntime

    function = bundle.manifest.functions[name]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    path = str(bundle.file(function.file))
    model = _returning_cache(path, bundle) if name == "decode" else path
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    outputs = list(function.outputs.values())
    asked = outputs + (list(WHOLE.values()) if name == "decode" else [])

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        feed = {function.inputs[key]: np.ascontiguousarray(value) for key, value in inputs.items()}
        values = session.run(asked, feed)
        return dict(zip(function.outputs, values, strict=False))

    return run


def _returning_cache(path: str, bundle: Bundle) -> bytes:
    """The graph of `decode` with the cache [L,B,H,C,Dh] as further outputs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    function = bundle.manifest.functions["decode"]
    contract = bundle.manifest.contract
    model = onnx.load(path)  # with its weights
    graph = model.graph
    C = contract.patches + contract.text_length
    rows = np.arange(C, dtype=np.int32).reshape(1, 1, 1, C, 1)
    constants = {
        "naive_rows": rows,
        "naive_first": np.array(contract.patches, np.int32),
        "naive_shape": np.array([1, -1, 1, 1, 1], np.int64),
    }
    for key, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(value, key))
    position = function.inputs["position"]
    graph.node.extend(
        [
            helper.make_node("Add", [position, "naive_first"], ["naive_row"]),
            helper.make_node("Reshape", ["naive_row", "naive_shape"], ["naive_place"]),
            helper.make_node("Equal", ["naive_rows", "naive_place"], ["naive_here"]),
        ]
    )
    for key, whole in WHOLE.items():
        new, old = function.outputs[f"{key}_new"], function.inputs[key]
        graph.node.append(helper.make_node("Where", ["naive_here", new, old], [whole]))
        graph.output.append(helper.make_tensor_value_info(whole, TensorProto.FLOAT, None))
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    place = "edgecap.benchmarks.peers.naive_onnx:open_session"
    sys.exit(serve_bundle("onnx", BACKEND, place, sys.argv[1]))
