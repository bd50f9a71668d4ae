"""What an engine chats on standard error is left out, and nothing else is."""

import os

import pytest

from edgecap.runtime.backends.stderr_filter import suppress_stderr_lines


def test_only_lines_that_begin_so_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    with suppress_stderr_lines("INFO: made"):
        os.write(2, b"INFO: made a delegate\nERROR: no INFO: made here\n")
    assert capfd.readouterr().err == "ERROR: no INFO: made here\n"


def test_what_was_written_before_an_error_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), suppress_stderr_lines("INFO"):
        os.write(2, b"INFO\nERROR: bad file")
        raise ValueError
    assert capfd.readouterr().err == "ERROR: bad file"
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"
