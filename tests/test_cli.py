"""The command line: what it lists, how it refuses, and what it imports."""

from __future__ import annotations

import errno
import inspect
import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

import edgecap
from edgecap.cli import doctor
from edgecap.cli.app import COMMANDS, main
from edgecap.core.errors import GateError, InputError
from edgecap.reference.scenes import font


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]):
    """Run the arguments: the exit code and the one line on standard error."""

    def run(*args: str) -> tuple[int, str]:
        code = main(list(args))
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("edgecap: ") and captured.err.count("\n") == 1
        return code, captured.err

    return run


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: edgecap" in capsys.readouterr().out


def test_commands_are_the_files() -> None:
    files = {path.stem for path in Path(doctor.__file__).parent.glob("[!_]*.py")}
    assert files - {"app"} == set(COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{edgecap.__version__}\n"


def test_unknown_command_names_the_closest(refusal) -> None:
    code, line = refusal("exprot")
    assert code == 2
    assert "'exprot'" in line and "Did you mean 'export'?" in line


@pytest.mark.parametrize(
    "args", [("doctor", "--jsn"), ("scenes",), ("scenes", "--output", "x", "--n", "many")]
)
def test_usage_errors(refusal, args: tuple[str, ...]) -> None:
    code, line = refusal(*args)
    assert code == 2
    assert "[usage]" in line


@pytest.mark.parametrize(
    ("option", "least", "most"), [("threads", 1, 1024), ("seed", 0, 9223372036854775807)]
)
def test_numbers_are_bounded_alike_in_every_command(
    refusal, option: str, least: int, most: int
) -> None:
    having = {
        name
        for name in COMMANDS
        if option in inspect.signature(import_module(f"edgecap.cli.{name}").run).parameters
    }
    assert {"finetune", "train", "qat", "eval"} <= having
    for command in having - ({"caption"} if option == "seed" else set()):  # drawing has its own
        for number, said in ((least - 1, f"equal to {least}. "), (most + 1, f"equal to {most}. ")):
            code, line = refusal(command, f"--{option}", str(number))
            assert code == 2
            assert f"[usage] Invalid value for '--{option}'" in line and said in line


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("a.code", "what\nwas got.", "Do this."), 2, "[a.code] what was got. Do this."),
        (GateError("b.code", "not good enough."), 1, "[b.code] not good enough."),
        (KeyboardInterrupt(), 130, "interrupted"),
        (PermissionError(13, "Permission denied", "/x"), 2, "[system] Permission denied: /x."),
        (OSError(28, "No space left on device"), 2, "[system] No space left on device."),
        (MemoryError(), 2, "[memory.exhausted] there is not enough memory for this."),
        (RuntimeError("std::bad_alloc"), 2, "[memory.exhausted]"),
        (OSError("cannot write mode P"), 70, "OSError: cannot write mode P"),
        (ValueError("a defect"), 70, "ValueError: a defect"),
    ],
)
def test_errors_become_exit_codes(
    refusal, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def run() -> None:
        raise error

    monkeypatch.setattr(doctor, "run", run)
    got, line = refusal("doctor")
    assert got == code
    assert said in line


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(doctor, "run", run)
    monkeypatch.setenv("EDGECAP_DEBUG", "1")
    with pytest.raises(ValueError, match="a defect"):
        main(["doctor"])


def parts(*modules: str) -> tuple[doctor.Part, ...]:
    """A package that is there under a module that is or is not, or a package that is not there."""
    return tuple(doctor.Part("test", "pytest", module, "pip install it") for module in modules)


def test_doctor_reports_a_working_backend(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = doctor.Part("other", "edgecap-no-such-package", "no_such", "pip install it")
    monkeypatch.setattr(doctor, "BACKENDS", (*parts("pytest"), absent))
    assert main(["doctor", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    works, missing = report["backends"]
    assert works["works"] and works["version"] == pytest.__version__ and works["need"] is None
    assert not missing["works"] and missing["version"] is None
    assert missing["need"] == "pip install it"
    assert report["edgecap"] == edgecap.__version__
    assert report["cpu"]["cores"] >= 1


def test_doctor_fails_where_the_only_backend_dies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "BACKENDS", parts("no_such_module"))
    assert main(["doctor", "--json", "-"]) == 1
    (broken,) = json.loads(capsys.readouterr().out)["backends"]
    assert not broken["works"]
    assert "No module named 'no_such_module'" in broken["need"]


def test_doctor_does_not_take_the_evaluator_for_an_engine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (evaluator,) = (part for part in doctor.BACKENDS if not part.engine)
    assert evaluator.serves.startswith("mlprogram")
    monkeypatch.setattr(doctor, "BACKENDS", (*parts("no_such_module"), evaluator))
    assert main(["doctor", "--json", "-"]) == 1
    _, told = json.loads(capsys.readouterr().out)["backends"]
    assert told["works"] and not told["engine"]


def test_doctor_finds_the_font_that_scenes_are_drawn_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = tmp_path / "deep" / font.FONT
    hidden.parent.mkdir()
    hidden.touch()
    monkeypatch.setattr(doctor, "BACKENDS", parts("pytest"))
    monkeypatch.setenv("PATH", str(tmp_path))  # no fc-match
    for folders, found in (((tmp_path,), str(hidden)), ((), None)):
        monkeypatch.setattr(font, "FOLDERS", folders)
        assert font.font_path() == (found and Path(found))
        assert main(["doctor", "--json", "-"]) == 0
        told = json.loads(capsys.readouterr().out)["fonts"]
        assert told["emoji"] == found and (told["need"] is None) == (found is not None)


def test_doctor_asks_for_no_second_package_of_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = doctor.Part("test", "edgecap-no-such-package", "no_such", "pip install it")
    monkeypatch.setattr(doctor, "BACKENDS", (*parts("pytest"), absent))
    assert [part["need"] for part in doctor.examine()["backends"]] == [None, None]


def test_doctor_does_not_call_a_backend_of_another_system_working(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mac = doctor.Part("mac", "pytest", "pytest", "pip install it", "darwin")
    monkeypatch.setattr(doctor, "BACKENDS", (mac,))
    for platform, works in (("linux", False), ("darwin", True)):
        monkeypatch.setattr(sys, "platform", platform)
        (part,) = doctor.examine()["backends"]
        assert part["works"] is works and part["version"] == pytest.__version__
        assert (part["need"] is None) is works
    assert "mlprogram" in doctor.MACOS_NEED


def test_doctor_prints_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "onnxruntime" in shown and "litert-torch" in shown and "emoji font" in shown


def test_doctor_reads_cpu_features(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Test CPU\nflags\t\t: fpu avx2 avx512_vnni\n")
    cpu = doctor.examine_cpu(cpuinfo)
    assert cpu["model"] == "Test CPU"
    assert cpu["features"] == ["AVX2", "AVX-512 VNNI (int8)"]
    cpuinfo.write_text("Features\t: fp asimd asimddp\nCPU part\t: 0xd0b\n")
    assert doctor.examine_cpu(cpuinfo)["features"] == ["NEON", "NEON dot product (int8)"]


def test_a_reader_that_leaves_is_no_failed_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("typer.echo", gone)
    with monkeypatch.context() as patched:  # click puts wrappers in their places
        patched.setattr(sys, "stdout", sys.stdout)
        patched.setattr(sys, "stderr", sys.stderr)
        assert main(["--version"]) == 141
