"""Exporting and running models of true size on a small machine, with random weights.

    python -m edgecap.benchmarks.true_size blip-base --precision w8 --against-transformers

Every stage is a process of its own, so that its peak of memory is its own: write the checkpoint,
export it without its weights in memory, caption from the files without torch. The last, on request,
alternates with transformers' `generate` (with its cache) in one process, one thread each:
CPU seconds, ratios round by round, their median. Files are deleted at the end.

    export     wall_s, peak_rss_gib of the exporting process, size_mb of what it wrote
    caption    open_s per graph, encode_s, step_ms, peak_rss_gib; one graph is open at a time
    against    caption_s of both, ratio
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgecap.benchmarks.machine import machine, peak_rss_mb
from edgecap.benchmarks.random_checkpoints import MAKERS
from edgecap.core.scratch import scratch_dir
from edgecap.runtime.image_processing import ModelInput

NEW_TOKENS = 20
INTERFACE = "interface.json"
MODEL, EXPORTED = "model", "exported"


def make(folder: Path, name: str) -> dict[str, Any]:
    """The checkpoint."""
    MAKERS[name](folder / MODEL)
    weights = folder / MODEL / "model.safetensors"
    return {"size_mb": round(weights.stat().st_size / 1e6, 1)}


def export(folder: Path, precision: str) -> dict[str, Any]:
    """The graphs, without weights in memory."""
    from dataclasses import asdict

    from edgecap.exporters.onnx import functions
    from edgecap.exporters.quiet import quiet
    from edgecap.models import registry
    from edgecap.models.checkpoint import open_checkpoint
    from edgecap.models.weightless import without_weights

    begun, used = time.monotonic(), time.process_time()
    (folder / EXPORTED).mkdir(exist_ok=True)
    with quiet():
        adapter = registry.load(open_checkpoint(folder / MODEL), 32, build=without_weights)
        functions.export(adapter, folder / EXPORTED, precision)
    settings = {"interface": asdict(adapter.interface), "prompt": list(_prompt(adapter))}
    (folder / INTERFACE).write_text(json.dumps(settings))
    size = sum(file.stat().st_size for file in (folder / EXPORTED).iterdir())
    return {
        "wall_s": round(time.monotonic() - begun, 1),
        "cpu_s": round(time.process_time() - used, 1),
        "size_mb": round(size / 1e6, 1),
        "peak_rss_gib": round(peak_rss_mb() / 1024, 2),
    }


def caption(folder: Path) -> dict[str, Any]:
    """A caption without torch; encode is closed before decode is opened."""
    interface, prompt = _interface(folder)
    clock = time.process_time
    begun = clock()
    graph = _open(folder, "encode")
    opened = clock()
    state = graph({"image": _image(interface)})
    encoded = clock()
    del graph
    gc.collect()
    again = clock()
    graph = _open(folder, "decode")
    ready = clock()
    ids, logits = _greedy(graph, interface, state, prompt)
    steps = len(prompt) + NEW_TOKENS - 1
    assert np.isfinite(logits).all()
    return {
        "open_s": [round(opened - begun, 2), round(ready - again, 2)],
        "encode_s": round(encoded - opened, 2),
        "step_ms": round(1000 * (clock() - ready) / steps, 1),
        "peak_rss_gib": round(peak_rss_mb() / 1024, 2),
        "ids": ids,
    }


def against(folder: Path, rounds: int) -> dict[str, Any]:
    """Captions of `NEW_TOKENS` by transformers and by onnxruntime, in turn."""
    import torch

    from edgecap.exporters.quiet import quiet
    from edgecap.models import registry
    from edgecap.models.adapter import Limits
    from edgecap.models.checkpoint import open_checkpoint

    torch.set_num_threads(1)
    with quiet():
        adapter = registry.load(open_checkpoint(folder / MODEL), 32)
    interface, prompt = _interface(folder)
    encode, decode = _open(folder, "encode"), _open(folder, "decode")
    image = _image(interface)
    limits = Limits(NEW_TOKENS, banned=adapter.generation.end if adapter.generation else ())

    def ours() -> Any:
        return _greedy(decode, interface, encode({"image": image}), prompt, limits.banned)[0]

    def theirs() -> Any:
        return adapter.reference([ModelInput(image, (0, 0))], tuple(prompt), limits)[0]

    times: dict[str, list[float]] = {"transformers": [], "onnx": []}
    results: dict[str, Any] = {}
    for i in range(rounds + 1):  # the first warms up
        for name, run in (("transformers", theirs), ("onnx", ours)):
            used = time.process_time()
            results[name] = run()
            if i:
                times[name].append(time.process_time() - used)
    ratios = [a / b for a, b in zip(times["transformers"], times["onnx"], strict=True)]
    return {
        "caption_s": {name: round(statistics.median(each), 2) for name, each in times.items()},
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "same_ids": sum(
            a == b for a, b in zip(results["transformers"], results["onnx"], strict=False)
        ),
    }


def _prompt(adapter: Any) -> tuple[int, ...]:
    return next(iter(adapter.generation.prompts.values()))


def _interface(folder: Path) -> tuple[Any, list[int]]:
    from edgecap.bundle.interface import interface_from_json

    settings = json.loads((folder / INTERFACE).read_text())
    return interface_from_json(settings["interface"]), settings["prompt"]


def _image(interface: Any) -> np.ndarray:
    size = interface.sizes(interface.image.shape, 1)
    return np.random.default_rng(3).integers(0, 256, size, np.uint8)  # [1,h,w,3]


def _open(folder: Path, name: str) -> Callable[[dict[str, Any]], dict[str, np.ndarray]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(folder / EXPORTED / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def _greedy(
    decode: Callable[[dict[str, Any]], dict[str, np.ndarray]],
    interface: Any,
    state: dict[str, np.ndarray],
    prompt: list[int],
    banned: tuple[int, ...] = (),
) -> tuple[list[int], np.ndarray]:
    """Exactly `NEW_TOKENS` ids, and the last logits [V]."""
    for entry in interface.entries("text"):
        state[entry.name] = np.zeros(interface.sizes(entry.shape, 1), np.float32)
    ids = list(prompt)
    for position in range(len(prompt) + NEW_TOKENS - 1):
        feed = {"token": [[ids[position]]], "position": [position]}
        made = decode({k: np.array(v, np.int32) for k, v in feed.items()} | state)
        for entry in interface.entries("text"):
            state[entry.name][:, :, position] = made[entry.new][:, :, 0]
        logits = made["logits"][0]  # [V]
        logits[list(banned)] = -np.inf
        if position >= len(prompt) - 1:
            ids.append(int(logits.argmax()))
    allowed = np.delete(logits, list(banned))
    return ids[len(prompt) :], allowed


def main() -> None:
    """Run every stage and print its result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", choices=MAKERS)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "fp16", "w8"))
    parser.add_argument("--against-transformers", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the files lie; default: a temporary one")
    parser.add_argument("--stage", choices=("make", "export", "caption", "against"))
    options = parser.parse_args()
    if options.stage:
        stages: dict[str, Callable[[], dict[str, Any]]] = {
            "make": lambda: make(options.folder, options.model),
            "export": lambda: export(options.folder, options.precision),
            "caption": lambda: caption(options.folder),
            "against": lambda: against(options.folder, options.rounds),
        }
        print(json.dumps(stages[options.stage]()))
        return
    names = ["make", "export", "caption"]
    names += ["against"] if options.against_transformers else []
    with scratch_dir("edgecap-true-size-", options.folder) as folder:
        print(json.dumps({"machine": machine()}), flush=True)
        for stage in names:
            command = [sys.executable, "-m", "edgecap.benchmarks.true_size", options.model]
            command += ["--precision", options.precision, "--rounds", str(options.rounds)]
            command += ["--stage", stage, "--folder", folder]
            ran = subprocess.run(command, capture_output=True, text=True)
            if ran.returncode:
                sys.exit(f"{stage} failed: {ran.stderr.strip()[-2000:]}")
            print(json.dumps({stage: json.loads(ran.stdout.splitlines()[-1])}), flush=True)


if __name__ == "__main__":
    main()
