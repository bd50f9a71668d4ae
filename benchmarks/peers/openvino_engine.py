"""OpenVINO on the graphs of an ONNX bundle, with its defaults for one stream of low latency.

One image at a time, and the graphs know it: a batch that may change costs OpenVINO half of a step
more.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np

from edgecap.benchmarks.peers.engine import EngineSession, Run, serve_bundle
from edgecap.bundle.io import Bundle


def open_session(bundle: Bundle, threads: int) -> EngineSession:
    """The bundle on OpenVINO's CPU plugin."""
    session = EngineSession(bundle, threads, open_function)
    session.batch = 1
    return session


def open_function(bundle: Bundle, name: str, threads: int) -> Run:
    import openvino

    function, interface = bundle.manifest.functions[name], bundle.manifest.interface
    core = openvino.Core()
    model = core.read_model(str(bundle.file(function.file)))
    inputs = interface.function(name).inputs
    model.reshape(
        {function.inputs[key]: list(interface.sizes(one.shape, 1)) for key, one in inputs.items()}
    )
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", settings)
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
