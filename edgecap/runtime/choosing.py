"""Which model a command uses when none is named."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from edgecap.bundle.io import bundles_in
from edgecap.bundle.manifest import MANIFEST
from edgecap.core.errors import InputError
from edgecap.core.shipped import shipped

DEFAULT = "S"  # of several shipped models: a larger one must not come unasked


def choose(here: Path) -> tuple[str, str]:
    """(what to load, why): the newest bundle in a directory, else the shipped weights on PyTorch.

    Raises InputError where there is neither.
    """
    bundles = bundles_in(here)
    if bundles:
        newest = max(bundles, key=lambda bundle: (bundle / MANIFEST).stat().st_mtime)
        return str(newest), "the newest bundle here"
    names = list(shipped())
    if names and find_spec("torch") is not None:
        name = DEFAULT if DEFAULT in names else names[0]
        return name, "no bundle here, so the shipped weights on PyTorch"
    raise InputError(
        "bundle.none",
        f"no bundle was named and none lies in {here}.",
        "Make one with: edgecap export --format tflite --int8",
    )
