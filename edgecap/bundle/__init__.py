"""Bundles on disk: the manifest, strict reading, golden files, the parity certificate. No torch."""
