"""Colour profiles made from primaries, as Display P3 and Adobe RGB are: matrix and one curve."""

from __future__ import annotations

import struct

import numpy as np

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = np.array([0.95047, 1.0, 1.08883])
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
# CIE xy of red, green, blue; the white is D65.
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060))
SRGB = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))


def to_xyz(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    """[3,3]: linear RGB to XYZ under D50."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    columns = columns * np.linalg.solve(columns, D65)
    cone = np.diag((BRADFORD @ D50) / (BRADFORD @ D65))
    return np.linalg.inv(BRADFORD) @ cone @ BRADFORD @ columns


def rgb_profile(
    primaries: tuple[tuple[float, float], ...], gamma: float, name: str = "made here"
) -> bytes:
    """An ICC profile, version 2."""
    matrix = to_xyz(primaries)
    tags = {b"desc": _described(name), b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(D50)}
    for i, colour in enumerate((b"r", b"g", b"b")):
        tags[colour + b"XYZ"] = _xyz(matrix[:, i])
        tags[colour + b"TRC"] = (
            b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
        )
    return _profile(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    tags = {
        b"desc": _described("grey"),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": _xyz(D50),
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0",
    }
    return _profile(b"GRAY", tags)


def cmyk_profile() -> bytes:
    """Four inks of which each full one is a colour of its own: a table of two points an ink."""
    corners = []
    for index in range(16):
        c, m, y, k = ((index >> shift) & 1 for shift in (3, 2, 1, 0))
        lightness = 255 * (1 - k) * (1 - 0.3 * c - 0.3 * m - 0.1 * y)
        corners += [lightness, 128 + 100 * (m - c) * (1 - k), 128 + 100 * (y - m) * (1 - k)]
    head = b"mft1\0\0\0\0" + struct.pack(">BBBB", 4, 3, 2, 0)
    identity = b"".join(struct.pack(">i", 65536 if i % 4 == 0 else 0) for i in range(9))
    line = bytes(range(256))
    table = bytes(min(255, max(0, round(v))) for v in corners)
    tags = {
        b"desc": _described("inks"),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": _xyz(D50),
        b"A2B0": head + identity + line * 4 + table + line * 3,
    }
    return _profile(b"CMYK", tags, b"Lab ", b"prtr")


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))


def _described(name: str) -> bytes:
    text = name.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)


def _profile(
    space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ", kind: bytes = b"mntr"
) -> bytes:
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", at + len(body), len(value))
        body += value
    rest = struct.pack(">I", len(tags)) + table + body
    head = struct.pack(">I4sI", 128 + len(rest), b"none", 0x02100000) + kind + space + connection
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", *(round(v * 65536) for v in D50))
    return head.ljust(128, b"\0") + rest
