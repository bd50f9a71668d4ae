"""Engines behind the Session protocol, one file each, imported when one is opened."""

from __future__ import annotations

import importlib
import logging
import sys
from dataclasses import dataclass
from functools import cache

from edgecap.bundle.io import Bundle
from edgecap.core.choices import pick
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.runtime.backends.single import FunctionSession
from edgecap.runtime.session import Session
from edgecap.runtime.validating import ValidatingSession

MACOS = "darwin"  # as sys.platform says it


@dataclass(frozen=True)
class Backend:
    """Where a backend lies, which bundle format it runs, and on which system if not on all."""

    module: str
    format: str
    platform: str | None = None
    takes_threads: bool = True  # False: it divides the work itself


# In order of preference. The torch reference runs weights, not bundles: see runtime.loading.
BACKENDS: dict[str, Backend] = {
    "onnx": Backend("edgecap.runtime.backends.onnx", "onnx"),
    "tflite": Backend("edgecap.runtime.backends.tflite", "tflite"),
    "coreml": Backend("edgecap.runtime.backends.coreml", "coreml", MACOS, takes_threads=False),
    "mlprogram": Backend("edgecap.runtime.backends.mlprogram", "coreml", takes_threads=False),
}


def select(format_: str, backend: str = "auto", platform: str | None = None) -> str:
    """The name of the backend that is to run bundles of this format; `platform`: this system.

    Raises InputError for an unknown backend, UnsupportedError where it does not run the format or
    not on this system.
    """
    pick("backend", backend, ("auto", *BACKENDS, "torch"))
    platform = platform or sys.platform
    of_format = {name: known for name, known in BACKENDS.items() if known.format == format_}
    here = [name for name, known in of_format.items() if known.platform in (None, platform)]
    if backend in here:
        return backend
    if backend == "auto" and here:
        return here[0]
    hint = f"Use backend {here[0]!r} or 'auto'." if here else ""
    if backend in of_format:
        raise UnsupportedError(
            "backend.platform", f"backend {backend!r} needs macOS; this is {platform}.", hint
        )
    raise UnsupportedError(
        "backend.format", f"backend {backend!r} cannot run a {format_} bundle.", hint
    )


def open_session(bundle: Bundle, backend: str = "auto", threads: int = 1) -> Session:
    """A session of schema 1 for a checked bundle; errors as of `open_functions`."""
    session = open_functions(bundle, backend, threads)
    return ValidatingSession(session, bundle.manifest.contract)


def open_functions(bundle: Bundle, backend: str = "auto", threads: int = 1) -> FunctionSession:
    """A checked bundle's functions on an engine, by their names in its manifest.

    Raises as `select` does, InputError for a thread count, MissingPackageError, or BundleError
    (bundle.model) where the engine refuses the model files.
    """
    if threads < 1:
        raise InputError("threads.number", f"threads must be at least 1, got {threads}.")
    name = select(bundle.manifest.format, backend)
    if name == "mlprogram" and backend == "auto":
        _say(
            "edgecap: Core ML itself runs on macOS only; NumPy evaluates the program here "
            "(backend mlprogram): its results count, its speed does not"
        )
    if threads > 1 and not BACKENDS[name].takes_threads:
        _say(f"edgecap: backend {name} divides its work itself; threads is not used")
    session: FunctionSession = importlib.import_module(BACKENDS[name].module).open_session(
        bundle, threads
    )
    return session


@cache
def _say(message: str) -> None:
    """Once per process, on standard error unless the program handles its logs otherwise."""
    logging.getLogger("edgecap").warning(message)
