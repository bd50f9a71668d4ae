"""Heavy packages are imported where they are used; a missing one becomes one clear line."""

from __future__ import annotations

import importlib
from types import ModuleType

from edgecap.core.errors import MissingPackageError


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra of edgecap brings it.

    Only the absence of the package itself is translated: an import error inside an installed
    package is a defect to be seen, not a missing package.
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
