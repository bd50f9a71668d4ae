"""Defaults that commands show in their help; nothing is imported here, so that help is fast."""

from __future__ import annotations

# `compare`: relative error of a layer from which on it counts as diverged. int8 that keeps its
# captions shows 0.02 to 0.07 (LOG.md).
THRESHOLD = 0.1
