"""Time per kind of operation of a bundle's functions, in one form for all formats.

    python -m edgecap.benchmarks.profile BUNDLE

Both engines report what ran after their own optimisation, so fused operations have the
engine's names; the evaluator of CoreML programs runs what the file holds. Measuring each operation
costs time: shares are meant, and not milliseconds. Inputs are zeros.

A profile is a list of rows, the most expensive of each function first:

    function, operation, calls (a run), ms (a run), share (of the function)
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgecap.benchmarks.graph_work import FUNCTIONS
from edgecap.bundle.io import Bundle, open_bundle
from edgecap.core.errors import EdgecapError, GateError, UnsupportedError
from edgecap.runtime.backends.onnx import session_options
from edgecap.runtime.loading import as_schema2

RUNS = {"onnx": 10, "tflite": 10, "coreml": 2}
LIMIT_S = 600
Timings = Iterable[tuple[str, float]]  # an operation's name and its milliseconds


def profile(bundle: Path, threads: int = 1) -> list[dict[str, Any]]:
    """The profile of a bundle, in a process of its own: engines record more than usual.

    Raises GateError where that process fails.
    """
    command = [sys.executable, "-P", "-m", "edgecap.benchmarks.profile", str(bundle), str(threads)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        raise GateError("bench.profile", f"{bundle}: no profile after {LIMIT_S} s.") from None
    if ran.returncode:
        lines = ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"]
        raise GateError("bench.profile", f"{bundle} has no profile: {lines[-1]}")
    rows: list[dict[str, Any]] = json.loads(ran.stdout.splitlines()[-1])
    return rows


def summed(function: str, timings: Timings, runs: int) -> list[dict[str, Any]]:
    """Rows of one function from every operation of all its runs."""
    calls: dict[str, int] = {}
    times: dict[str, float] = {}
    for name, ms in timings:
        calls[name] = calls.get(name, 0) + 1
        times[name] = times.get(name, 0.0) + ms
    whole = sum(times.values()) or 1.0
    rows = [
        {
            "function": function,
            "operation": name,
            "calls": calls[name] / runs,
            "ms": ms / runs,
            "share": ms / whole,
        }
        for name, ms in times.items()
    ]
    return sorted(rows, key=lambda row: -float(row["ms"]))


def _onnx(bundle: Bundle, name: str, runs: int, threads: int) -> list[dict[str, Any]]:
    import onnxruntime

    options = session_options(onnxruntime, threads)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="edgecap-profile-") as folder:
        options.profile_file_prefix = f"{folder}/{name}"
        session = onnxruntime.InferenceSession(
            str(bundle.file(bundle.manifest.functions[name].file)),
            options,
            providers=["CPUExecutionProvider"],
        )
        kinds = {"tensor(uint8)": np.uint8, "tensor(int32)": np.int32, "tensor(int64)": np.int64,
                 "tensor(float16)": np.float16, "tensor(float)": np.float32}  # fmt: skip
        feed = {
            one.name: np.zeros([d if isinstance(d, int) else 1 for d in one.shape], kinds[one.type])
            for one in session.get_inputs()
        }
        for _ in range(runs):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    timings = (
        (event["args"]["op_name"], event["dur"] / 1e3)
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    )
    return summed(name, timings, runs)


def _tflite(bundle: Bundle, name: str, runs: int, threads: int) -> list[dict[str, Any]]:
    from edgecap.benchmarks import litert_profile

    function = bundle.manifest.functions[name]
    timings = litert_profile.timings(bundle.file(function.file), function.entry, runs, threads)
    return summed(name, timings, runs)


def _coreml(bundle: Bundle, name: str, runs: int, threads: int) -> list[dict[str, Any]]:
    from edgecap.mil.dtypes import BY_NAME
    from edgecap.mil.ops import KERNELS
    from edgecap.mil.program import Program

    timings: list[tuple[str, float]] = []
    kernels = dict(KERNELS)

    def timed(operation: str) -> Callable[..., Any]:
        def run(**inputs: Any) -> Any:
            began = time.perf_counter()
            result = kernels[operation].compute(**inputs)
            timings.append((operation, (time.perf_counter() - began) * 1e3))
            return result

        return run

    KERNELS.update({name: replace(one, compute=timed(name)) for name, one in kernels.items()})
    function = bundle.manifest.functions[name]
    runnable = Program.open(bundle.path / function.file).function(function.entry)
    feed = {
        key: np.zeros([d or 1 for d in one.type.shape], BY_NAME[one.type.dtype].computed)
        for key, one in runnable.inputs.items()
    }
    timings.clear()  # opening computes constants
    for _ in range(runs):
        runnable.run(feed)
    KERNELS.update(kernels)
    return summed(name, timings, runs)


_OF_FORMAT: Mapping[str, Callable[..., list[dict[str, Any]]]] = {
    "onnx": _onnx,
    "tflite": _tflite,
    "coreml": _coreml,
}


def table(rows: list[dict[str, Any]], most: int = 12) -> list[str]:
    """The most expensive operations of each function, as lines of text."""
    lines = []
    for function in dict.fromkeys(row["function"] for row in rows):
        lines.append(f"{function}: operation, calls, ms, share")
        own = [row for row in rows if row["function"] == function][:most]
        lines += [
            f"  {row['operation']:<44} {row['calls']:6.0f} {row['ms']:9.3f} {row['share']:7.1%}"
            for row in own
        ]
    return lines


def main(path: str, threads: str = "1") -> int:
    """The profile as JSON on the last line of standard output."""
    try:
        bundle = as_schema2(open_bundle(Path(path)))
        format_ = bundle.manifest.format
        if format_ not in _OF_FORMAT:
            raise UnsupportedError("bench.profile", f"{format_} bundles cannot be profiled.")
        rows: list[dict[str, Any]] = []
        for name in FUNCTIONS:
            if name in bundle.manifest.functions:
                rows += _OF_FORMAT[format_](bundle, name, RUNS[format_], int(threads))
    except EdgecapError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
