"""OpenVINO on the graphs of an ONNX bundle, with its defaults for one stream of low latency."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np

from edgecap.benchmarks.peers.engine import EngineSession, Run, serve_bundle
from edgecap.bundle.io import Bundle


def open_session(bundle: Bundle, threads: int) -> EngineSession:
    """The bundle on OpenVINO's CPU plugin."""
    return EngineSession(bundle, threads, open_function)


def open_function(bundle: Bundle, name: str, threads: int) -> Run:
    import openvino

    function = bundle.manifest.functions[name]
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(str(bundle.file(function.file)), "CPU", settings)
    request = compiled.create_infer_request()

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        feed = {function.inputs[key]: np.ascontiguousarray(value) for key, value in inputs.items()}
        request.infer(feed, share_inputs=True)
        # Copied, since the next call overwrites them.
        return {
            key: request.get_tensor(tensor).data.copy() for key, tensor in function.outputs.items()
        }

    return run


if __name__ == "__main__":
    place = "edgecap.benchmarks.peers.openvino_engine:open_session"
    sys.exit(serve_bundle("onnx", "openvino", place, sys.argv[1]))
