"""Progress passes its items on: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import os
import sys

import pytest

from edgecap.core.progress import EVERY_S, progress, working
from edgecap.exporters.quiet import quiet


def test_short_work_leaves_nothing_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(3), "work")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("items", "total", "lines"),
    [
        (range(7), None, ["  work: 2/7", "  work: 5/7"]),
        (iter(range(7)), None, ["  work: 2", "  work: 5"]),
        (iter(range(7)), 7, ["  work: 2/7", "  work: 5/7"]),
    ],
)
def test_long_work_is_never_silent(
    items: range, total: int | None, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = iter(range(100))
    shown = progress(items, "work", total, clock=lambda: next(ticks) * EVERY_S / 2.5)
    assert list(shown) == list(range(7))
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines() == lines


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.openpty()
    with open(writer, "w", encoding="utf-8") as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        patched.setenv("TERM", "xterm")
        assert list(progress(iter("abc"), "work", total=3)) == ["a", "b", "c"]
        shown = os.read(reader, 4096).decode()
    os.close(reader)
    assert "work" in shown


def test_work_without_a_count_is_never_silent(capfd: pytest.CaptureFixture[str]) -> None:
    """Also where a converter is kept quiet meanwhile."""
    with working("converting", every=0.01), quiet():
        shown = ""
        while "\n" not in shown:
            shown += capfd.readouterr().err
    assert shown.splitlines()[0] == "  converting: 0 s"


def test_short_work_without_a_count_leaves_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with working("converting"):
        pass
    assert capfd.readouterr() == ("", "")
