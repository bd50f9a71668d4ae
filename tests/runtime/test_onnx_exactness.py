"""Which processors onnxruntime is asked for exact int8 kernels on."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from edgecap.runtime.backends import onnx


@pytest.mark.parametrize(
    ("machine", "flags", "wanted"),
    [
        ("x86_64", "flags: avx2 fma", True),
        ("x86_64", "flags: avx2 avx512f avx512_vnni", False),
        ("AMD64", "flags: avx2 avx_vnni", False),
        ("x86_64", None, True),
        ("aarch64", None, False),
        ("arm64", "Features: asimddp", False),
    ],
)
def test_x86_without_vnni_saturates(
    monkeypatch: pytest.MonkeyPatch, machine: str, flags: str | None, wanted: bool
) -> None:
    def read(path: Path, encoding: str) -> str:
        assert str(path) == "/proc/cpuinfo"
        if flags is None:
            raise FileNotFoundError(path)
        return flags

    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", read)
    assert onnx.saturates() is wanted
