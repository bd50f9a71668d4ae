"""Converters are kept quiet; their words are shown where nothing else explains a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def test_a_log_stays_whatever_happens(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "converter.log"
    with quiet(log):
        os.write(1, SAID)
    with pytest.raises(ValueError), quiet(log):
        os.write(2, SAID)
        raise ValueError
    assert log.read_bytes() == 2 * SAID  # of several conversions, one after the other
    code = "from edgecap.exporters.quiet import quiet; import os, sys; from pathlib import Path\n"
    code += f"with quiet(Path({str(log)!r})): os.write(2, b'last words'); os.abort()"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode != 0
    assert log.read_bytes().endswith(b"last words")


def test_a_clear_refusal_stands_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnsupportedError), quiet():
        os.write(2, SAID)
        raise UnsupportedError("plan.layer", "this converter has no such layer.")
    assert capfd.readouterr() == ("", "")
