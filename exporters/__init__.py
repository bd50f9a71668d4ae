"""Exporters, one folder for each format, imported as `edgecap.exporters`. It imports no tools.

`job` makes bundles; which formats there are is said by the rows of edgecap.core.formats.
"""

from __future__ import annotations

if __name__ != "edgecap.exporters":  # from the repository root it would be a second module
    raise ImportError(f"import edgecap.exporters instead of {__name__}")
