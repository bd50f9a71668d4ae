"""Two bundles of one model, function by function: how fast, and how far their outputs lie apart.

    python -m edgecap.benchmarks.graphs OLD NEW --function decode --rounds 40

For changes of graphs: both run in one process on one thread, in turns of few calls, so that a busy
machine slows both alike; the ratio is the median of the rounds' ratios, with its quartiles. The
engine is called directly, without the decode loop. The bundles must have the same format and the
same inputs; the cache is that of a golden image, with random text rows.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgecap.bundle.io import Bundle, open_bundle
from edgecap.core.errors import EdgecapError, InputError
from edgecap.core.lazy import require
from edgecap.runtime.backends.onnx import session_options
from edgecap.runtime.loading import as_schema2

Arrays = dict[str, np.ndarray]
CALLS = {"encode": 3, "decode": 12, "encode_text": 3, "extend": 8}  # in a row, each turn


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="edgecap.benchmarks.graphs", description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--function", choices=[*CALLS], default=None, help="by default all")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args(arguments)
    try:
        old, new = (as_schema2(open_bundle(path)) for path in (options.old, options.new))
        if old.manifest.format != new.manifest.format:
            raise InputError(
                "graphs.format",
                f"{options.old} is {old.manifest.format} and {options.new} {new.manifest.format}.",
                "Compare bundles of one format.",
            )
        both = [old.manifest.functions.keys(), new.manifest.functions.keys()]
        for name in [options.function] if options.function else [n for n in CALLS if n in both[0]]:
            if any(name not in names for names in both):
                raise InputError("graphs.function", f"{name} is not in both bundles.")
            print(compare(old, new, name, options.rounds))
    except EdgecapError as error:
        print(f"graphs: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def compare(old: Bundle, new: Bundle, name: str, rounds: int) -> str:
    """One function of both, measured and compared."""
    runs = [runner(bundle, name) for bundle in (old, new)]
    inputs = example(old, runner(old, "encode"), name)
    answers = [run(inputs) for run in runs]
    times = np.array([[_turn(run, inputs, CALLS[name]) for run in runs] for _ in range(rounds)])
    ratios = np.quantile(times[:, 1] / times[:, 0], (0.25, 0.5, 0.75))
    before, after = np.median(times, 0) * 1e3
    apart = ", ".join(
        f"{output} {np.abs(value - answers[1][output]).max():.2g} of {np.abs(value).max():.3g}"
        for output, value in answers[0].items()
    )
    return (
        f"{name}: {before:.3f} ms, now {after:.3f} ms; ratio {ratios[1]:.3f} "
        f"({ratios[0]:.3f} to {ratios[2]:.3f}), {rounds} rounds of {CALLS[name]}\n"
        f"  largest difference: {apart}"
    )


def runner(bundle: Bundle, name: str) -> Callable[[Arrays], Arrays]:
    """A function of a bundle on its own engine, one thread, by the contract's names."""
    place = bundle.manifest.functions[name]
    path = str(bundle.file(place.file))
    if bundle.manifest.format == "onnx":
        engine = require("onnxruntime", "onnx")
        options = session_options(engine)
        session = engine.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        outputs = list(place.outputs.values())

        def on_onnx(inputs: Arrays) -> Arrays:
            feed = {target: inputs[key] for key, target in place.inputs.items()}
            return dict(zip(place.outputs, session.run(outputs, feed), strict=True))

        return on_onnx
    if bundle.manifest.format != "tflite":
        raise InputError("graphs.format", f"{bundle.manifest.format} bundles cannot be compared.")
    from edgecap.runtime.backends.tflite import interpreter_class

    signature = interpreter_class()[1](model_path=path, num_threads=1).get_signature_runner(
        place.entry
    )

    def on_tflite(inputs: Arrays) -> Arrays:
        made = signature(**{target: inputs[key] for key, target in place.inputs.items()})
        return {key: made[target] for key, target in place.outputs.items()}

    return on_tflite


def example(bundle: Bundle, encode: Callable[[Arrays], Arrays], name: str) -> Arrays:
    """Inputs of a function: the first golden image, and what follows from it."""
    dims = bundle.manifest.interface.dims
    image = np.load(bundle.file("golden/model_input.npy"))[:1]  # [1,S,S,3]
    if name == "encode":
        return {"image": image}
    rng = np.random.default_rng(0)
    if name == "encode_text":
        tokens = rng.integers(0, dims["V"], (1, dims["N"]), np.int32)
        return {"tokens": tokens, "length": np.array([9], np.int32)}
    code = encode({"image": image})
    found: Arrays = {"position": np.array([9], np.int32)}
    for entry in bundle.manifest.interface.entries("cache"):  # […,P,Dh] and random text rows
        rows = code[entry.name]
        text = rng.standard_normal((*rows.shape[:-2], dims["T"], rows.shape[-1]))
        found[entry.name] = np.concatenate([rows, text.astype(rows.dtype)], -2)
    if name == "decode":
        return {"token": np.array([[40]], np.int32), **found}
    return {"tokens": np.array([[40, 41, 42, 43]], np.int32), **found}


def _turn(run: Callable[[Arrays], Arrays], inputs: Arrays, calls: int) -> float:
    """Median of a few calls, seconds."""
    spent = []
    for _ in range(calls):
        begun = time.perf_counter()
        run(inputs)
        spent.append(time.perf_counter() - begun)
    return float(np.median(spent))


if __name__ == "__main__":
    sys.exit(main())
