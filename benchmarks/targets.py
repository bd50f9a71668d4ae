"""Which artifacts a bench measures, and how each one's process is started."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from edgecap.benchmarks.runner import Target
from edgecap.bundle.io import Bundle, open_bundle
from edgecap.bundle.manifest import CARD, CERTIFICATE, MANIFEST
from edgecap.core.errors import InputError

# What travels with a bundle for its checking and its readers; an app ships without it.
NOT_SHIPPED = (CARD, CERTIFICATE)
NOT_SHIPPED_FOLDER = "golden/"


def bundles(paths: Sequence[Path], here: Path) -> list[Bundle]:
    """The bundles named, or where none is, those that lie in `here`.

    Raises BundleError for one that cannot be used, InputError where there is none, or two of one
    name.
    """
    chosen = list(paths) or sorted(found.parent for found in here.glob(f"*/{MANIFEST}"))
    if not chosen:
        raise InputError(
            "bench.no_bundles",
            f"no bundle was given and none lies in {here}.",
            "Make one with: edgecap export --format tflite --int8",
        )
    opened = [open_bundle(path) for path in chosen]
    if len({path.resolve() for path in chosen}) < len(chosen):
        raise InputError("bench.twice", "the same bundle was given twice.", "Give each once.")
    return opened


def bundle_target(bundle: Bundle, pictures: Sequence[Path], threads: int) -> Target:
    """A bundle, run by the runtime that its format needs."""
    return Target(
        name=bundle.path.resolve().name,
        command=worker_command(str(bundle.path), "auto", pictures, threads),
        size_bytes=shipped_bytes(bundle),
    )


def reference_target(weights: str, pictures: Sequence[Path], threads: int) -> Target | None:
    """PyTorch with the weights of that name or path; None where there is no PyTorch."""
    if find_spec("torch") is None:
        return None
    return Target(
        name=f"PyTorch {Path(weights).stem}",
        command=worker_command(weights, "torch", pictures, threads),
        reference=True,
    )


def worker_command(
    source: str, backend: str, pictures: Sequence[Path], threads: int
) -> tuple[str, ...]:
    """The command line of the process that measures one artifact."""
    job = {
        "source": source,
        "backend": backend,
        "threads": threads,
        "pictures": [str(picture) for picture in pictures],
    }
    return (sys.executable, "-m", "edgecap.benchmarks.worker", json.dumps(job))


def shipped_bytes(bundle: Bundle) -> int:
    """Bytes of what an app takes along: manifest, tokenizer and model files."""
    listed = sum(
        entry.size
        for name, entry in bundle.manifest.files.items()
        if name not in NOT_SHIPPED and not name.startswith(NOT_SHIPPED_FOLDER)
    )
    return listed + (bundle.path / MANIFEST).stat().st_size
