"""Exporters: one file per format. Imported as `edgecap.exporters`; this file imports nothing."""

if __name__ != "edgecap.exporters":  # from the repository root it would be a second module
    raise ImportError(f"import edgecap.exporters instead of {__name__}")
