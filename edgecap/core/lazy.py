"""Lazy import of optional packages, with a clear error for a missing one."""

from __future__ import annotations

import importlib
from types import ModuleType

from edgecap.core.errors import MissingPackageError


def require(module: str, extra: str) -> ModuleType:
    """Import `module`; MissingPackageError names the extra of edgecap that installs it.

    Only the absence of the package itself is translated: an import error inside an installed
    package is passed on.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingPackageError(
            "package.missing",
            f"{module.split('.')[0]} is not installed, and this needs it.",
            f"Run: pip install 'edgecap[{extra}]'",
        ) from None
