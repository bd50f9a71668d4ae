"""What the commands of `python -m` make of an error: one line, and an exit code."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import pytest

from edgecap.core.command import run_command
from edgecap.core.errors import GateError, InputError


def failing(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("a.b", "It\nis wrong.", "Do that."), 2, "[a.b] It is wrong. Do that."),
        (GateError("a.c", "Not enough."), 1, "[a.c] Not enough."),
        (InputError("a.d", "\x1b]0;owned\x07"), 2, "[a.d] \ufffd]0;owned\ufffd"),
        (FileNotFoundError(2, "Not there", "a.txt"), 2, "[system] Not there: a.txt."),
        (OSError(28, "No space left on device"), 2, "[system] No space left on device."),
        (MemoryError(), 2, "[memory.exhausted] there is not enough memory for this."),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            2,
            "[memory.exhausted] there is not enough memory for this.",
        ),
        (KeyboardInterrupt(), 130, "interrupted."),
        (
            OverflowError("int too big"),
            70,
            "[internal] OverflowError: int too big. This is a defect of edgecap; "
            "run with EDGECAP_DEBUG=1 for the traceback.",
        ),
    ],
)
def test_errors_become_a_line_and_a_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("recall", failing(error)) == code
    assert capsys.readouterr() == ("", f"recall: {said}\n")


def test_work_that_is_done_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("recall", lambda: None) == 0
    assert capsys.readouterr() == ("", "")


def test_debug_shows_the_traceback_of_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECAP_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run_command("recall", failing(ZeroDivisionError()))
    assert run_command("recall", failing(InputError("a.b", "It is wrong."))) == 2


@pytest.mark.parametrize(
    ("module", "arguments", "code"),
    [
        ("recall", "--kinds spread,odd", "kind.unknown"),
        ("recall", "--n 3", "recall.n"),
        ("reference.referring", "no/such/bundle", "bundle.missing"),
        ("reference.referring", "--n 0", "referring.n"),
        ("reference.referring", "--only boxes", "part.unknown"),
        ("reference.maps", "no/such/bundle", "bundle.missing"),
        ("reference.name_search", "no/such/bundle", "bundle.missing"),
        ("reference.name_search", "--lang xx", "language.unknown"),
        ("reference.name_search", "--n 1", "name_search.n"),
        ("reference.zero_shot", "no/such/bundle", "bundle.missing"),
        ("reference.zero_shot", "--n 0", "zero_shot.n"),
        ("reference.new_language", "sv", "language.unknown"),
        ("reference.new_language", "ko --threads 0", "new_language.threads"),
        ("reference.new_language", "nl --threads 99999999999", "new_language.threads"),
        ("reference.new_language", "ko --seed -1", "new_language.seed"),
        (
            "reference.new_language",
            f"nl --seed {1 << 64}",
            "new_language.seed",
        ),
        ("reference.new_language", "ko --captions 0", "new_language.captions"),
        ("reference.new_language", "ko --images 1", "new_language.images"),
        ("reference.new_language", "nl --out OUT --model no/weights", "weights.missing"),
        ("reference.ablations.__main__", "towers --jobs 0", "ablations.jobs"),
    ],
)
def test_every_command_refuses_in_one_line(
    module: str,
    arguments: str,
    code: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    given = arguments.replace("OUT", str(tmp_path_factory.mktemp("out") / "new")).split()
    assert import_module(f"edgecap.benchmarks.{module}").main(given) == 2
    err = capsys.readouterr().err
    assert f"[{code}]" in err and err.count("\n") == 1
    assert err.startswith(f"{module.removesuffix('.__main__').split('.')[-1]}: ")
