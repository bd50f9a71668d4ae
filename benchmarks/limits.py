"""What the machine can do at best, and how far the functions of a bundle are from it.

    python -m edgecap.benchmarks.limits BUNDLE

Measured here, best of several runs, with the threads of the options:

    int8_gops       int8 matrix product of onnxruntime, 10^9 operations/s (2 per multiply-add)
    fp32_gops       float32 matrix product of onnxruntime
    bandwidth_gbs   reading a float32 array that no cache holds, 10^9 bytes/s

The floor of a function is the longer of two times: its multiply-adds, int8 and float32 each at the
peak of such products, and the bytes it reads once (its weights, and the cache in a step) at the
bandwidth of a working set of that size, which a cache may hold. Multiply-adds and weights are
counted in an ONNX bundle of the same model and precision; other formats have the same.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgecap.benchmarks.graph_work import Work, count
from edgecap.bundle.io import Bundle, open_bundle
from edgecap.core.errors import EdgecapError
from edgecap.core.lazy import require
from edgecap.runtime.loading import as_schema2

SIDE = 768  # of the int8 and float32 products; a core's peak, and beyond a first-level cache
LARGE = 256 << 20  # bytes that no cache holds
RUNS = 7
_BYTES_PER_WEIGHT = {"fp32": 4.0, "fp16": 2.0}  # 1 for the others
MEASURED_AS = {"encode": "encode_image_ms", "decode": "decode_step_ms"}  # in a bench


def measure(bundles: Sequence[Path], threads: int = 1) -> dict[str, Any]:
    """Peaks of the machine and floors of the bundles' functions, by the bundles' names.

    Raises MissingPackageError without onnx and onnxruntime. Bundles of which no ONNX bundle of the
    same model and precision is given have no floors.
    """
    opened = [as_schema2(open_bundle(path)) for path in bundles]
    peaks = Peaks(int8_gops(threads), fp32_gops(threads))
    counted = {_kind(one): count(one) for one in opened if one.manifest.format == "onnx"}
    found = {}
    for one in opened:
        width = _BYTES_PER_WEIGHT.get(one.manifest.precision, 1.0)
        found[one.path.resolve().name] = {
            name: _floor(name, work, peaks, width)
            for name, work in counted.get(_kind(one), {}).items()
        }
    return {
        "int8_gops": peaks.int8,
        "fp32_gops": peaks.fp32,
        "bandwidth_gbs": bandwidth_gbs(LARGE),
        "precision_note": f"measured peak of int8 ({peaks.int8:.0f} G operations/s) and float32 "
        f"products ({peaks.fp32:.0f})",
        "bundles": found,
    }


class Peaks(NamedTuple):
    """Measured products, 10^9 operations/s."""

    int8: float
    fp32: float


def _kind(bundle: Bundle) -> tuple[str, str]:
    """The model and the precision."""
    manifest = bundle.manifest
    return manifest.name.split(f"-{manifest.format}")[0], manifest.precision


def _floor(name: str, work: Work, peaks: Peaks, width: float) -> dict[str, Any]:
    """One function: what it does and its least time, ms; `width` in bytes per weight."""
    read = work.weights * width + work.state_bytes
    floats = work.macs - work.int8_macs
    arithmetic = 2 * (work.int8_macs / peaks.int8 + floats / peaks.fp32) / 1e6
    memory = read / bandwidth_gbs(int(read)) / 1e6 if read else 0.0
    return {
        "name": name,
        "figure": MEASURED_AS[name],
        "macs": work.macs,
        "bytes": read,
        "arithmetic_ms": arithmetic,
        "memory_ms": memory,
        "floor_ms": max(arithmetic, memory),
    }


def int8_gops(threads: int = 1) -> float:
    """uint8 by int8 products of onnxruntime, which uses the widest instructions there are."""
    return _product_gops("MatMulInteger", np.uint8, np.int8, np.int32, threads)


def fp32_gops(threads: int = 1) -> float:
    """float32 products of onnxruntime."""
    return _product_gops("MatMul", np.float32, np.float32, np.float32, threads)


def _product_gops(operation: str, left: Any, right: Any, made: Any, threads: int) -> float:
    """One operation of onnxruntime on square matrices of these types; the right one is constant."""
    onnx, runtime = require("onnx", "export"), require("onnxruntime", "onnx")
    helper = onnx.helper

    def described(name: str, kind: Any) -> Any:
        type_ = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        return helper.make_tensor_value_info(name, type_, [SIDE, SIDE])

    graph = helper.make_graph(
        [helper.make_node(operation, ["a", "b"], ["c"])],
        "peak",
        [described("a", left)],
        [described("c", made)],
        [onnx.numpy_helper.from_array(np.ones((SIDE, SIDE), right), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    session = runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {"a": np.ones((SIDE, SIDE), left)}
    return 2 * SIDE**3 / _best(lambda: session.run(None, feed)) / 1e9


def bandwidth_gbs(size: int) -> float:
    """Reading an array of so many bytes again and again, as a step reads its weights."""
    values = np.ones(max(size // 4, 1024), np.float32)
    repeats = max(1, (32 << 20) // values.nbytes)

    def read() -> None:
        for _ in range(repeats):
            np.dot(values, values)  # one array, read once

    return repeats * values.nbytes / _best(read) / 1e9


def _best(work: Callable[[], object]) -> float:
    """Seconds of CPU time of the fastest run: other programs only make it slower."""
    times = []
    for _ in range(RUNS):
        began, used = time.perf_counter(), time.process_time()
        work()
        wall, cpu = time.perf_counter() - began, time.process_time() - used
        times.append(min(wall, cpu) if cpu > 0.5 * wall or cpu > 1e-3 else wall)
    return min(times)


def main() -> int:
    """The limits as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    try:
        print(json.dumps(measure(options.bundles, options.threads), indent=1))
    except EdgecapError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
