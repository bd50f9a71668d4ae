"""Which artifacts a bench measures, and how each one's process is started."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from edgecap.benchmarks.process import Target
from edgecap.benchmarks.protocol import IMAGES
from edgecap.bundle.cached import FAMILY
from edgecap.bundle.certificate import certificate_from_json
from edgecap.bundle.files import CARD, CERTIFICATE, FRONT, MANIFEST, PLAN, SEARCH
from edgecap.bundle.io import Bundle, bundles_in, open_bundle
from edgecap.core.digest import file_sha256
from edgecap.core.errors import InputError
from edgecap.core.scratch import scratch_dir
from edgecap.reference.scenes.shipped import load_set
from edgecap.reference.shipped import called, shipped
from edgecap.runtime.loading import as_schema2

# What travels with a bundle for its checking and its readers; an app ships without it.
NOT_SHIPPED = (CARD, CERTIFICATE, PLAN, SEARCH, FRONT)
NOT_SHIPPED_FOLDER = "golden/"
PARITY = {"next_token": "next_token", "tokens": "captions"}  # the certificate's names -> a row's


def bundles(paths: Sequence[Path], here: Path) -> list[Bundle]:
    """The bundles named, or where none is, those that lie in `here`.

    Raises BundleError for one that cannot be used, InputError where there is none, and where one
    is given twice.
    """
    chosen = list(paths) or bundles_in(here)
    if not chosen:
        raise InputError(
            "bench.no_bundles",
            "no bundle was named, and the working directory holds none.",
            "Make one with: edgecap export --format tflite --int8",
        )
    opened = [open_bundle(path) for path in chosen]
    if len({path.resolve() for path in chosen}) < len(chosen):
        raise InputError("bench.twice", "the same bundle was given twice.", "Give each once.")
    return opened


@contextmanager
def images(count: int = IMAGES) -> Iterator[list[Path]]:
    """The first scenes of the shipped gate set as uncompressed files, while the context lasts.

    Not compressed, so that targets of other languages need no decoder and none is measured.
    """
    with scratch_dir("edgecap-bench-") as folder:
        files = []
        for i, (pixels, _) in enumerate(load_set("gate", count)):
            files.append(folder / f"{i}.ppm")
            Image.fromarray(pixels).save(files[-1])
        yield files


def targets(
    opened: Sequence[Bundle], weights: str | None, files: Sequence[Path], threads: int
) -> list[Target]:
    """PyTorch first, where it and the weights are there, then the bundles; no two of one name.

    `weights` is a shipped name or a file; None takes those that the first bundle came from, where
    they lie under their name.
    """
    found = []
    first = as_schema2(opened[0]).manifest.model
    if first.family != FAMILY:
        return [*_checkpoint(weights, files, threads), *_bundles(opened, files, threads)]
    model = weights or first.source
    weights_file = find_weights(model)
    if weights is None and weights_file and not _exported(weights_file, first.weights):
        weights_file = None
    # Weights that were requested and are not there fail in their own row; a bundle may well have
    # come from weights on another machine.
    if find_spec("torch") is not None and (weights or weights_file):
        found.append(
            Target(
                name=f"PyTorch {Path(model).stem}",
                command=worker_command(model, "torch", files, threads),
                size_bytes=weights_file.stat().st_size if weights_file else None,
                reference=True,
            )
        )
    return found + _bundles(opened, files, threads)


def _checkpoint(model: str | None, files: Sequence[Path], threads: int) -> list[Target]:
    """transformers' own generate, where a checkpoint directory was named."""
    if model is None:
        return []
    weights = sum(file.stat().st_size for file in Path(model).glob("*.safetensors"))
    command = worker_command(model, "torch", files, threads)
    return [Target(f"transformers {Path(model).name}", command, weights, reference=True)]


def _bundles(opened: Sequence[Bundle], files: Sequence[Path], threads: int) -> list[Target]:
    names = [bundle.path.resolve().name for bundle in opened]
    return [
        Target(
            # Two of one name lie in different places: name the place.
            name=name if names.count(name) == 1 else str(bundle.path),
            command=worker_command(str(bundle.path), "auto", files, threads),
            size_bytes=shipped_bytes(bundle),
            parity=certified(bundle),
        )
        for bundle, name in zip(opened, names, strict=True)
    ]


def certified(bundle: Bundle) -> dict[str, float]:
    """What the gate found when the bundle was exported: shares of next tokens and of captions.

    Nothing for a bundle without a certificate. BundleError for one that contradicts itself.
    """
    if CERTIFICATE not in bundle.manifest.files:
        return {}
    agreements = certificate_from_json(bundle.json(CERTIFICATE)).agreements
    return {PARITY[a.what]: a.agreement for a in agreements if a.what in PARITY}


def _exported(weights: Path, recorded: str | None) -> bool:
    """Whether a bundle came from this file, or has no record; another may have its name."""
    return recorded is None or recorded == file_sha256(weights)


def find_weights(model: str) -> Path | None:
    """The file of weights given by path or by the name of a shipped model, where there is one.

    A shipped model may be called by its size or as bundles call it: S, captioner-S.
    """
    path = Path(model)
    return path if path.is_file() else shipped().get(called(model))


def worker_command(
    source: str, backend: str, images: Sequence[Path], threads: int
) -> tuple[str, ...]:
    """The command line of the process that measures one artifact."""
    job = {
        "source": source,
        "backend": backend,
        "threads": threads,
        "images": [str(image) for image in images],
    }
    return (sys.executable, "-P", "-m", "edgecap.benchmarks.worker", json.dumps(job))


def shipped_bytes(bundle: Bundle) -> int:
    """Bytes of what an app takes along: manifest, tokenizer and model files."""
    listed = sum(
        entry.size
        for name, entry in bundle.manifest.files.items()
        if name not in NOT_SHIPPED and not name.startswith(NOT_SHIPPED_FOLDER)
    )
    packed = bundle.container
    manifest = (
        packed.contents[MANIFEST].nbytes if packed else (bundle.path / MANIFEST).stat().st_size
    )
    return listed + manifest
