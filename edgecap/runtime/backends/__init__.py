"""Engines behind the Session protocol, one file each, imported when one is opened."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from edgecap.bundle.io import Bundle
from edgecap.core.choices import pick
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.runtime.checked import CheckedSession
from edgecap.runtime.session import Session


@dataclass(frozen=True)
class Backend:
    """Where a backend lies and which bundle format it runs."""

    module: str
    format: str


# The torch reference runs weights, not bundles: see runtime.captioner.load.
BACKENDS: dict[str, Backend] = {
    "onnx": Backend("edgecap.runtime.backends.onnx", "onnx"),
    "tflite": Backend("edgecap.runtime.backends.tflite", "tflite"),
}


def open_session(bundle: Bundle, backend: str = "auto", threads: int = 1) -> Session:
    """A session for a checked bundle.

    Raises UnsupportedError where the backend does not run the bundle's format, InputError for an
    unknown backend or thread count, MissingPackageError, or BundleError (bundle.model) where the
    engine refuses the model files.
    """
    if threads < 1:
        raise InputError("threads.number", f"threads must be at least 1, got {threads}.")
    format_ = bundle.manifest.format
    pick("backend", backend, ("auto", *BACKENDS, "torch"))
    fitting = [name for name, known in BACKENDS.items() if known.format == format_]
    if not fitting or backend not in ("auto", *fitting):
        hint = f"Use backend {fitting[0]!r} or 'auto'." if fitting else ""
        raise UnsupportedError(
            "backend.format",
            f"{bundle.path} is a {format_} bundle, which backend {backend!r} cannot run.",
            hint,
        )
    module = importlib.import_module(BACKENDS[fitting[0]].module)
    return CheckedSession(module.open_session(bundle, threads), bundle.manifest.contract)
