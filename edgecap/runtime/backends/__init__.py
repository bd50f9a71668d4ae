"""Inference engines behind FunctionSession, one module each, imported on first use.

The engines are listed in the rows of edgecap.core.formats.
"""

from __future__ import annotations

import logging
import sys
from functools import cache

from edgecap.bundle.io import Bundle
from edgecap.core.choices import pick
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.core.formats import FORMATS, backends, load_object
from edgecap.runtime.backends.single import FunctionSession


def check_backend(backend: str, *others: str) -> None:
    """Raise InputError for a name that is none of `auto`, the backends and `others`."""
    if backend != "auto":  # the names of all are in the metadata of every installed package
        pick("backend", backend, ("auto", *backends(), *others))


def select(format_: str, backend: str = "auto", platform: str | None = None) -> str:
    """The name of the backend for bundles of this format; `platform`: by default this system.

    `auto` selects the first that works on the platform and is enabled for it (Backend.automatic).
    Raises InputError for an unknown backend, UnsupportedError if it cannot run the format or does
    not work on the platform.
    """
    check_backend(backend, "torch")
    platform = platform or sys.platform
    rows = {one.name: one for one in FORMATS[format_].backends} if format_ in FORMATS else {}
    usable = [name for name, row in rows.items() if row.platform in (None, platform)]
    automatic = [name for name in usable if rows[name].automatic]
    if backend in usable:
        return backend
    if backend == "auto" and automatic:
        return automatic[0]
    hint = f"Use backend {usable[0]!r} or 'auto'." if usable else ""
    if backend in rows:
        raise UnsupportedError(
            "backend.platform",
            f"backend {backend!r} runs on {rows[backend].platform} only; this is {platform}.",
            hint,
        )
    raise UnsupportedError(
        "backend.format", f"backend {backend!r} cannot run a {format_} bundle.", hint
    )


def open_functions(bundle: Bundle, backend: str = "auto", threads: int = 1) -> FunctionSession:
    """The functions of a checked bundle on an engine, by their names in its manifest.

    Raises as `select`; InputError for an invalid thread count, MissingPackageError, or BundleError
    (bundle.model) if the engine rejects the model files.
    """
    if threads < 1:
        raise InputError("threads.number", f"threads must be at least 1, got {threads}.")
    name = select(bundle.manifest.format, backend)
    row = next(one for one in FORMATS[bundle.manifest.format].backends if one.name == name)
    if backend == "auto" and row.note:
        _warn_once(f"edgecap: {row.note}")
    if threads > 1 and not row.takes_threads:
        _warn_once(f"edgecap: backend {name} schedules its work itself; threads is ignored")
    session: FunctionSession = load_object(row.session)(bundle, threads)
    return session


@cache
def _warn_once(message: str) -> None:
    """Log a warning once per process (to standard error by default)."""
    logging.getLogger("edgecap").warning(message)
