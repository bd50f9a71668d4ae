"""What each precision costs a small trained captioner: exact captions, and agreement with PyTorch.

    python -m edgecap.benchmarks.reference.small_captioner_scores DIR BUNDLE… [--n 300]

DIR is what `small_captioner` trained, each BUNDLE an export of it. Scenes are its held-out ones. A
caption is exact where it is the true one, word for word, and agrees where it is that of the
checkpoint in PyTorch, float32, by transformers' own `generate`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecap.benchmarks.reference.small_captioner import caption, scene
from edgecap.bundle.io import open_bundle
from edgecap.core.command import check_numbers, run_command
from edgecap.models.loading import load


@dataclass(frozen=True)
class Score:
    """Of one model on the same scenes; shares of 0 to 1."""

    name: str
    exact: float
    agrees: float
    lost: int  # captions that PyTorch has exact and this model has not
    gained: int  # the other way round
    size: int  # bytes of the model files


def scores(checkpoint: Path, bundles: Sequence[Path], n: int) -> Iterator[Score]:
    """PyTorch first, then every bundle, on the first n held-out scenes."""
    drawn = [scene("held-out", i) for i in range(n)]
    images, true = [image for image, _ in drawn], [caption(shown) for _, shown in drawn]
    float_texts = _texts(checkpoint, images)
    exact = np.array([a == b for a, b in zip(float_texts, true, strict=True)])  # [n]
    weights = sum(file.stat().st_size for file in checkpoint.glob("*.safetensors"))
    yield Score("torch fp32", float(exact.mean()), 1.0, 0, 0, weights)
    for bundle in bundles:
        found = _texts(bundle, images)
        own = np.array([a == b for a, b in zip(found, true, strict=True)])  # [n]
        agrees = np.mean([a == b for a, b in zip(found, float_texts, strict=True)])
        manifest = open_bundle(bundle).manifest
        suffixes = (".onnx", ".bin", ".tflite", ".mlmodel")
        size = sum(e.size for name, e in manifest.files.items() if name.endswith(suffixes))
        yield Score(
            f"{manifest.format} {manifest.precision}",
            float(own.mean()),
            float(agrees),
            int((exact & ~own).sum()),
            int((own & ~exact).sum()),
            size,
        )


def _texts(source: Path, images: list[np.ndarray]) -> list[str]:
    captioner = load(source, "auto")
    return [one.text.lower() for one in captioner.caption(images)]


def main(arguments: list[str] | None = None) -> int:
    """The command: a row of a table for each model."""
    parser = argparse.ArgumentParser(
        prog="python -m edgecap.benchmarks.reference.small_captioner_scores"
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundles", type=Path, nargs="*")
    parser.add_argument("--n", type=int, default=300, help="held-out scenes")
    args = parser.parse_args(arguments)
    return run_command("small_captioner_scores", lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    check_numbers(args, "small_captioner_scores", n=1)
    print("| | exact | agrees with PyTorch | lost, gained | MB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for row in scores(args.checkpoint, args.bundles, args.n):
        print(
            f"| {row.name} | {row.exact:.1%} | {row.agrees:.1%} | {row.lost}, {row.gained} "
            f"| {row.size / 1e6:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
