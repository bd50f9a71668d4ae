"""Two bundles function by function: equal graphs lie nowhere apart, and refusals are one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgecap.benchmarks.graphs import main


def test_a_bundle_against_itself(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = str(tiny_bundle)
    assert main([where, where, "--rounds", "2"]) == 0
    shown = capsys.readouterr().out
    for name in ("encode", "decode", "encode_text"):
        assert re.search(rf"^{name}: .* ratio ", shown, re.M)
    apart = re.findall(r"largest difference: (.*)", shown)
    assert len(apart) == 3
    assert all(re.fullmatch(r"\w+ 0 of .*", part) for line in apart for part in line.split(", "))


def test_a_function_that_is_not_there(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = str(tiny_bundle)
    assert main([where, where, "--function", "extend"]) == 2
    assert "extend is not in both bundles" in capsys.readouterr().err
