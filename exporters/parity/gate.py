"""The gate: an exported bundle against PyTorch's outputs, in a process that cannot import torch.

    python -m edgecap.exporters.parity.gate BUNDLE REFERENCES CERTIFICATE

The process is a fresh one without torch because that is what a user's device has: an artifact that
only works beside the libraries that wrote it would pass anywhere else. Two engines in one process
also disturb each other's thread pools. `run` starts it.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import edgecap
from edgecap.bundle.certificate import Certificate, certificate_to_json, extended
from edgecap.bundle.golden import read_golden
from edgecap.bundle.interface import DECODE_ATTENTION, DECODE_STATEFUL
from edgecap.bundle.io import open_bundle
from edgecap.core.errors import EdgecapError
from edgecap.core.formats import FORMATS, Backend, backends
from edgecap.exporters.parity.attention import compare_attention
from edgecap.exporters.parity.compare import compare
from edgecap.exporters.parity.outputs import ReferenceOutputs
from edgecap.exporters.parity.state import joined, with_state
from edgecap.runtime.loading import load
from edgecap.runtime.replay import replay


def main(bundle: str, references: str, certificate: str) -> None:
    """Compare, and write the certificate, whatever its verdict."""
    sys.modules["torch"] = None  # type: ignore[assignment]  # any import of it fails from here on
    # Both check only the sizes of large files: these were hashed when they were written, just now.
    reference, opened = ReferenceOutputs.load(Path(references)), open_bundle(bundle)
    captioner = load(bundle, FORMATS[opened.manifest.format].gate)
    row = backends()[captioner.backend]
    engine = _engine(row)
    result = with_golden(
        compare(captioner, reference, engine), replay(captioner, read_golden(opened))
    )
    functions = captioner.manifest.functions
    if DECODE_STATEFUL in functions:
        package = Path(bundle) / functions[DECODE_STATEFUL].file
        result = joined(result, compare(with_state(captioner, package), reference, engine))
    if DECODE_ATTENTION in functions:
        result = extended(result, compare_attention(captioner, reference))
    result = replace(result, versions=_versions(row))
    Path(certificate).write_bytes(certificate_to_json(result))


def with_golden(scenes: Certificate, golden: Certificate) -> Certificate:
    """One certificate that also holds what `edgecap verify` checks: no bundle may fail there."""
    return extended(
        scenes,
        tuple(replace(o, output=f"golden {o.output}") for o in golden.outputs),
        tuple(replace(a, what=f"golden {a.what}") for a in golden.agreements),
    )


def _engine(row: Backend) -> str:
    """Name and version of the engine that this process loaded."""
    if row.evaluator:
        return f"edgecap {edgecap.__version__}'s evaluator of ML programs"
    loaded = [(name, found) for name, found in _versions(row).items() if name in _names(row)]
    return " ".join(loaded[0]).strip() if loaded else "unknown engine"


def _versions(row: Backend) -> dict[str, str]:
    """What ran here, name -> version; empty where a loaded package has none."""
    found = {"python": platform.python_version(), "edgecap": edgecap.__version__}
    for package in dict.fromkeys(("numpy", "pillow", *_names(row))):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ""
    return found


def _names(row: Backend) -> list[str]:
    """The backend's packages that this process has loaded, by their names for pip."""
    tops = {package.name: package.module.split(".")[0] for package in row.packages}
    return [name for name, module in tops.items() if module in sys.modules]


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except EdgecapError as error:  # the parent quotes the last line, which is to be no traceback's
        sys.exit(str(error))
