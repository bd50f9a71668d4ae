"""Reading the conformance vectors, as a port to another language would."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

VECTORS = Path(__file__).resolve().parents[2] / "conformance" / "vectors"


def topic(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_bytes())


def kept(name: str, at: int, shape: tuple[int, ...]) -> np.ndarray:
    """Bytes of `<name>.bin` from `at` on as uint8 of a shape."""
    data = (VECTORS / f"{name}.bin").read_bytes()
    count = int(np.prod(shape))
    return np.frombuffer(data, np.uint8, count, at).reshape(shape)


def noise(width: int, height: int, channels: int, seed: int) -> np.ndarray:
    """The source image of a case, uint8 [height,width,channels]; see conformance/README.md."""
    values, x = [], seed
    for _ in range(width * height * channels):
        x = (x * 1664525 + 1013904223) % 2**32
        values.append(x >> 24)
    return np.array(values, np.uint8).reshape(height, width, channels)


def assert_bytes(name: str, case: dict[str, Any], got: np.ndarray) -> None:
    """Hold an image to a case: byte by byte where its bytes are kept, by CRC-32 always."""
    if "at" in case:
        np.testing.assert_array_equal(got, kept(name, case["at"], got.shape))
    assert zlib.crc32(np.ascontiguousarray(got).tobytes()) == case["crc32"]
