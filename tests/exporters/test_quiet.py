"""Converters are kept quiet; their words are shown where nothing else explains a failure."""

from __future__ import annotations

import os

import pytest

from edgecap.core.errors import UnsupportedError
from edgecap.exporters.quiet import quiet

SAID = b"lowering pass 17\n"


def test_what_a_converter_says_is_kept_back(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        os.write(1, SAID)
        os.write(2, SAID)
    assert capfd.readouterr() == ("", "")


def test_a_crash_shows_the_last_words(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), quiet():
        os.write(2, SAID)
        raise ValueError
    assert SAID.decode() in capfd.readouterr().err


def test_a_clear_refusal_stands_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnsupportedError), quiet():
        os.write(2, SAID)
        raise UnsupportedError("plan.layer", "this converter has no such layer.")
    assert capfd.readouterr() == ("", "")
