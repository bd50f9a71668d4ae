"""Benchmarks of bundles. Imported as `edgecap.benchmarks`; this file imports nothing."""

if __name__ != "edgecap.benchmarks":  # from the repository root it would be a second module
    raise ImportError(f"import edgecap.benchmarks instead of {__name__}")
