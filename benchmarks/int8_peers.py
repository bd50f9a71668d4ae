"""Int8 of checkpoints beside what others make of the same graphs: errors and sizes.

    python -m edgecap.benchmarks.int8_peers [CHECKPOINT…] [--images 8] [--precisions w8,w8a8]

Without a checkpoint, small models with random weights are made. Each is exported as fp32 and at
these precisions; the fp32 graphs are also given to onnxruntime's `quantize_dynamic` (int8 per
channel) and to ai-edge-quantizer's `dynamic_wi8_afp32`. All are run along PyTorch's captions of the
same images.

    size_mb   of the model files
    rms       root of the mean square of the error of logits, in spreads (standard deviations within
              a step) of PyTorch's
    worst     the largest error, in the same unit
    same      share of steps with PyTorch's best token; near ties of random weights decide it

Letters: N images, h and w the input's size in px, M steps of all captions, V vocabulary.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecap.benchmarks.random_checkpoints import SMALL
from edgecap.bundle.io import finalize, open_bundle
from edgecap.core.choices import pick
from edgecap.core.command import check_numbers, run_command
from edgecap.exporters.parity.words import forced_logits, spread
from edgecap.exporters.prepare import prepare_export
from edgecap.exporters.quiet import quiet
from edgecap.exporters.tflite import graph
from edgecap.runtime.image_processing import ModelInput
from edgecap.runtime.loading import load

NEW_TOKENS = 8
OURS = ("w8", "w8a8")  # beside fp32, which the peers quantise
CALIBRATION = 64  # images


@dataclass(frozen=True)
class Row:
    """One way to store and run one model."""

    model: str
    format: str
    way: str
    size_mb: float
    rms: float
    worst: float
    same: float


def measure(
    checkpoint: Path, images: int, scratch: Path, precisions: Sequence[str] = OURS
) -> Iterator[Row]:
    """Every row of one model; bundles are made in `scratch`."""
    captions, expected = None, None
    for format_, peer, theirs in (
        ("onnx", "onnxruntime dynamic", _onnxruntime),
        ("tflite", "ai-edge dynamic", _ai_edge),
    ):
        bundles = {
            precision: _export(checkpoint, format_, precision, scratch)
            for precision in ("fp32", *precisions)
        }
        bundles[peer] = _peer(bundles["fp32"], scratch / f"{format_}-peer", theirs)
        if captions is None or expected is None:
            captions, expected = _reference_captions(checkpoint, bundles["fp32"], images)
        for way, bundle in bundles.items():
            logits = _logits(bundle, captions)  # [M,V]
            error = (logits - expected) / spread(expected)
            yield Row(
                checkpoint.name,
                format_,
                way,
                _size(bundle),
                float(np.sqrt(np.square(error).mean())),
                float(np.abs(error).max()),
                float(np.mean(logits.argmax(-1) == expected.argmax(-1))),
            )


Captions = list[tuple[ModelInput, list[int]]]  # images, and the tokens of each


def _export(checkpoint: Path, format_: str, precision: str, scratch: Path) -> Path:
    output = scratch / f"{format_}-{precision}"
    prepared = prepare_export(
        str(checkpoint),
        formats=[format_],
        precision=precision,
        output=output,
        verify=False,
        num_calib=CALIBRATION if precision == "w8a8" else None,
    )
    list(prepared.run(lambda text: None))
    return output


def _reference_captions(checkpoint: Path, bundle: Path, images: int) -> tuple[Captions, np.ndarray]:
    """PyTorch's captions, and its logits f32 [M,V] along them."""
    from edgecap.exporters.checkpoint_images import model_inputs
    from edgecap.exporters.eager import Eager
    from edgecap.models import registry
    from edgecap.models.adapter import Limits
    from edgecap.models.checkpoint import open_checkpoint
    from edgecap.reference.scenes.shipped import load_set
    from edgecap.runtime.graphs import Graphs

    adapter = registry.load(open_checkpoint(checkpoint))
    manifest = load(bundle).manifest
    spec = manifest.prompts[manifest.default_prompt]
    scenes = [pixels for pixels, _ in load_set("gate", images)]
    graphs = Graphs(Eager(adapter.functions()), adapter.interface)
    captions: Captions = []
    rows = []
    for image in model_inputs(scenes, manifest.image):
        # Without an end, so that random models write more than one word.
        limits = Limits(NEW_TOKENS, banned=spec.eos)
        (ids,) = adapter.reference([image], spec.begin, limits)
        captions.append((image, ids))
        rows.append(forced_logits(graphs, image, spec, ids))  # [n,V]
    return captions, np.concatenate(rows)


def _logits(bundle: Path, captions: Captions) -> np.ndarray:
    """The logits of a bundle along the captions: f32 [M,V]."""
    captioner = load(bundle)
    spec = captioner.manifest.prompts[captioner.manifest.default_prompt]
    return np.concatenate(
        [forced_logits(captioner.graphs, image, spec, ids) for image, ids in captions]
    )


def _size(bundle: Path) -> float:
    suffixes = (".onnx", ".bin", ".tflite")
    return sum(f.stat().st_size for f in bundle.iterdir() if f.suffix in suffixes) / 1e6


def _peer(bundle: Path, copy: Path, quantise: Callable[[Path], None]) -> Path:
    """A copy of a float bundle whose model files somebody else made int8."""
    shutil.copytree(bundle, copy)
    with quiet():
        quantise(copy)
    finalize(copy, open_bundle(bundle).manifest)
    return copy


def _onnxruntime(bundle: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    for file in list(bundle.glob("*.onnx")):
        small = file.with_suffix(".small")
        quantize_dynamic(file, small, weight_type=QuantType.QInt8, per_channel=True)
        small.replace(file)
    (bundle / "weights.bin").unlink()  # the quantised graphs hold their own


def _ai_edge(bundle: Path) -> None:
    from ai_edge_quantizer import quantizer, recipe

    file = bundle / "model.tflite"
    tree = graph.read(file.read_bytes())
    named = [tensor for subgraph in tree.subgraphs for tensor in subgraph.tensors]
    for i, tensor in enumerate(named):  # it wants names, no two alike in any subgraph
        tensor.name = f"tensor_{i}".encode()
    file.write_bytes(graph.write(tree))
    tool = quantizer.Quantizer(str(file), recipe.dynamic_wi8_afp32())
    bundles = tool.quantize().quantized_model
    assert bundles is not None
    file.write_bytes(bytes(bundles))


def main(arguments: list[str] | None = None) -> int:
    """The command: one table."""
    parser = argparse.ArgumentParser(prog="python -m edgecap.benchmarks.int8_peers")
    parser.add_argument("checkpoints", type=Path, nargs="*", help="default: small random models")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--precisions", default=",".join(OURS), help="ours, comma-separated")
    args = parser.parse_args(arguments)
    return run_command("int8_peers", lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    check_numbers(args, "int8_peers", images=1)
    precisions = [pick("precision", name, OURS) for name in args.precisions.split(",")]
    print("| model | format | | MB | rms | worst | same |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as place:
        checkpoints = [*args.checkpoints]
        if not checkpoints:
            for name, make in SMALL.items():
                checkpoints.append(Path(place) / name)
                make(checkpoints[-1])
        for i, checkpoint in enumerate(checkpoints):
            for row in measure(checkpoint, args.images, Path(place) / f"made-{i}", precisions):
                print(
                    f"| {row.model} | {row.format} | {row.way} | {row.size_mb:.2f} "
                    f"| {row.rms:.4f} | {row.worst:.3f} | {row.same:.0%} |",
                    flush=True,
                )


if __name__ == "__main__":
    sys.exit(main())
