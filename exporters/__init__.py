"""Exporters, one folder for each format, imported as `edgecap.exporters`. It imports no tools.

`job` makes bundles; the rows of edgecap.core.formats list the formats.
"""

from __future__ import annotations

if __name__ != "edgecap.exporters":  # from the repository root it would be a second module
    raise ImportError(f"import edgecap.exporters instead of {__name__}")
