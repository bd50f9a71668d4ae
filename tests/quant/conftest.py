from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from tiny_quant import Calibrated, calibrated


@pytest.fixture(scope="session")
def tiny() -> Calibrated:
    """Shared, so nobody may change it."""
    return calibrated()
