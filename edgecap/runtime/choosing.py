"""Which model a command uses when none is named."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from edgecap.bundle.manifest import MANIFEST
from edgecap.core.errors import InputError

_SHIPPED = Path(__file__).resolve().parent.parent / "data"


def choose(here: Path) -> tuple[str, str]:
    """(what to load, why): the newest bundle in a directory, else the shipped weights on PyTorch.

    Raises InputError where there is neither.
    """
    manifests = sorted(here.glob(f"*/{MANIFEST}"), key=lambda path: path.stat().st_mtime)
    if manifests:
        newest = manifests[-1].parent
        return str(newest), "the newest bundle here"
    weights = sorted(_SHIPPED.glob("captioner-*.safetensors"))
    if weights and find_spec("torch") is not None:
        name = weights[0].stem.removeprefix("captioner-")
        return name, "no bundle here, so the shipped weights on PyTorch"
    raise InputError(
        "bundle.none",
        f"no bundle was named and none lies in {here}.",
        "Make one with: edgecap export --format tflite --int8",
    )
