"""What the default attention map costs: a decode step with that output and without it, in turns.

    python -m edgecap.exporters.map_cost BUNDLE... --json

The step without it is the bundle's own graph, less the output and all that only the output needed.
A slow minute of the machine falls on both, and CPU time is taken, in which other work counts less.

    step_ms      with the map, median over rounds of the fastest call
    ratio        with the map over without it, round by round, median
    of_caption   what it adds to a greedy caption of a scene, as a share of the caption without it

CoreML is not timed: the evaluator's speed is not a device's.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecap.bundle.io import Bundle, open_bundle
from edgecap.core.command import check_numbers, guarded
from edgecap.core.errors import UnsupportedError
from edgecap.core.lazy import require
from edgecap.exporters import onnx_passes, tflite_graph
from edgecap.exporters.steps import TIMED, Step, seconds, step
from edgecap.runtime import Captioner, load
from edgecap.runtime.inspection.onnx import weight_files
from edgecap.scenes.shipped import SETS, load_set

CALLS = 5  # of each step in a round
SCENES = range(1, SETS["evaluation"][1] + 1)
STEP, MAP = "decode", "attention"


def strip_onnx(model: Any, output: str) -> None:
    """Take an output out of an ONNX model, and every node that only it needed."""
    graph = model.graph
    kept = [value for value in graph.output if value.name != output]
    needed = {value.name for value in kept}
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    onnx_passes.replace_nodes(model, nodes[::-1])
    del graph.output[:]
    graph.output.extend(kept)
    onnx_passes.prune(model)


def strip_tflite(model: Any, signature: str, output: str) -> None:
    """The same for a signature of a .tflite tree."""
    (found,) = (s for s in model.signatureDefs if s.signatureKey.decode() == signature)
    subgraph = model.subgraphs[found.subgraphIndex]
    (gone,) = (entry for entry in found.outputs if entry.name.decode() == output)
    found.outputs = [entry for entry in found.outputs if entry is not gone]
    subgraph.outputs = [index for index in subgraph.outputs if index != gone.tensorIndex]
    needed, operators = set(subgraph.outputs), []
    for operator in reversed(subgraph.operators):
        if needed.intersection(operator.outputs):
            operators.append(operator)
            needed.update(operator.inputs)
    subgraph.operators = operators[::-1]


def steps(bundle: Bundle, inputs: Mapping[str, np.ndarray], scratch: Path) -> tuple[Step, Step]:
    """The decode step of an ONNX or TFLite bundle, with the map and without it, one thread each.

    `inputs` by the contract's names; `scratch` takes the graph that is made.
    """
    function = bundle.manifest.contract.functions[STEP]
    path, made = bundle.file(function.file), scratch / Path(function.file).name
    if bundle.manifest.format == "onnx":
        onnx = require("onnx", "export")
        model = onnx.load(str(path), load_external_data=False)
        strip_onnx(model, function.outputs[MAP])
        made.write_bytes(model.SerializeToString())
        for name in weight_files(path):  # engines read weights from beside the graph only
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path.parent / name, scratch / name)
        return step("onnx", path, function, inputs), step("onnx", made, function, inputs)
    tree = tflite_graph.read(path.read_bytes())
    strip_tflite(tree, function.entry, function.outputs[MAP])
    made.write_bytes(tflite_graph.write(tree))
    return step("tflite", path, function, inputs), step("tflite", made, function, inputs)


def measure(
    bundle: Bundle,
    captioner: Captioner,
    pictures: Sequence[np.ndarray],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Any]:
    """The figures above for one bundle, in milliseconds and shares."""
    spoken, captions = [], []
    for picture in pictures:
        begun = clock()
        (caption,) = captioner.caption([picture])
        captions.append(clock() - begun)
        prompt = captioner.vocabulary.prompt(caption.lang, caption.style)
        spoken.append(len(prompt) + len(caption.tokens))
    canvas = np.zeros((1, *[bundle.manifest.preprocessing.size] * 2, 3), np.uint8)  # [1,S,S,3]
    k, v = captioner.cache(canvas)  # [L,1,H,Tmax,Dh]
    token, position = np.ones((1, 1), np.int32), np.full(1, 16, np.int32)
    inputs = {"token": token, "position": position, "k": k, "v": v}
    with tempfile.TemporaryDirectory() as scratch:
        both = steps(bundle, inputs, Path(scratch))
        taken: tuple[list[float], list[float]] = ([], [])
        for lap in range(rounds + 1):  # the first warms up
            for which in (0, 1) if lap % 2 else (1, 0):
                calls = [seconds(both[which], clock) for _ in range(CALLS)]
                if lap:
                    taken[which].append(min(calls))
    added = statistics.median(a - b for a, b in zip(*taken, strict=True)) * statistics.mean(spoken)
    return {
        "bundle": bundle.manifest.name,
        "step_ms": 1e3 * statistics.median(taken[0]),
        "ratio": statistics.median(a / b for a, b in zip(*taken, strict=True)),
        "caption_ms": 1e3 * statistics.median(captions),
        "steps": statistics.mean(spoken),
        "of_caption": added / (statistics.median(captions) - added),
    }


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = ArgumentParser(prog="python -m edgecap.exporters.map_cost")
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE")
    parser.add_argument(
        "--n",
        type=int,
        default=16,
        choices=SCENES,
        metavar="N",
        help="scenes that are captioned, 1 … 512",
    )
    parser.add_argument("--rounds", type=int, default=60, help=f"of {CALLS} calls each")
    parser.add_argument("--json", choices=["-"], help="print JSON instead of a table")
    asked = parser.parse_args(arguments)
    return guarded("map_cost", lambda: _run(asked))


def _run(asked: Namespace) -> None:
    check_numbers(asked, "map_cost", n=1, rounds=1)
    opened = [open_bundle(name) for name in asked.bundles]
    for bundle in opened:
        if bundle.manifest.format not in TIMED:
            raise UnsupportedError(
                "map_cost.format",
                f"{bundle.manifest.name} cannot be timed here; onnx and tflite can.",
            )
    pictures = [picture for picture, _ in load_set("evaluation", asked.n)]
    rows = [measure(one, load(one.path), pictures, asked.rounds) for one in opened]
    if asked.json:
        print(json.dumps({"rounds": asked.rounds, "bundles": rows}, indent=1))
        return
    for row in rows:
        print(
            f"{row['bundle']}: a step {row['step_ms']:.2f} ms, {row['ratio']:.3f} of one without "
            f"the map; {row['of_caption']:+.1%} of a caption of {row['steps']:.0f} steps"
        )


if __name__ == "__main__":
    sys.exit(main())
