"""What the commands of `python -m` make of an error: one line, and an exit code."""

from __future__ import annotations

from importlib import import_module

import pytest

from edgecap.core.command import guarded
from edgecap.core.errors import GateError, InputError


def test_errors_become_a_line_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(error: Exception) -> None:
        raise error

    assert guarded("recall", lambda: fails(InputError("a.b", "It is wrong.", "Do that."))) == 2
    assert guarded("recall", lambda: fails(GateError("a.c", "Not enough."))) == 1
    assert guarded("recall", lambda: None) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "recall: [a.b] It is wrong. Do that.\nrecall: [a.c] Not enough.\n"
    with pytest.raises(ZeroDivisionError):  # a defect keeps its traceback
        guarded("recall", lambda: fails(ZeroDivisionError()))


@pytest.mark.parametrize(
    ("module", "arguments", "code"),
    [
        ("benchmarks.batched", "no/bundle", "bundle.missing"),
        ("benchmarks.batched", "--rounds 0", "batched.rounds"),
        ("benchmarks.batched", "--sizes 2 0", "batched.sizes"),
        ("benchmarks.recall", "--kinds spread,odd", "kind.unknown"),
        ("benchmarks.recall", "--n 3", "recall.n"),
        ("benchmarks.referring", "no/bundle", "bundle.missing"),
        ("benchmarks.referring", "--n 0", "referring.n"),
        ("benchmarks.referring", "--only boxes", "part.unknown"),
        ("benchmarks.maps", "no/bundle", "bundle.missing"),
        ("benchmarks.new_language", "sv", "language.unknown"),
        ("benchmarks.new_language", "ko --threads 0", "new_language.threads"),
        ("benchmarks.new_language", "ko --seed -1", "new_language.seed"),
        ("benchmarks.new_language", "ko --captions 0", "new_language.captions"),
        ("benchmarks.new_language", "ko --pictures 1", "new_language.pictures"),
        ("benchmarks.new_language", "nl --out OUT --model no/weights", "weights.missing"),
        ("benchmarks.ablations.__main__", "towers --jobs 0", "ablations.jobs"),
        ("exporters.map_cost", "no/bundle", "bundle.missing"),
        ("quant.agreement", "no/weights", "weights.missing"),
        ("quant.agreement", "S no/plan.json", "plan.missing"),
        ("quant.agreement", "S --scenes 0", "agreement.scenes"),
        ("quant.agreement", "S --scenes 513", "agreement.scenes"),
        ("quant.agreement", "S --observer best", "observer.unknown"),
        ("quant.agreement", "S plan.json --observer mse", "agreement.observer"),
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
    assert import_module(f"edgecap.{module}").main(given) == 2
    err = capsys.readouterr().err
    assert f"[{code}]" in err and err.count("\n") == 1
    assert err.startswith(f"{module.removesuffix('.__main__').split('.')[-1]}: ")
