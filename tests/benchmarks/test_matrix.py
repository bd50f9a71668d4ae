"""The matrix of environments: what it runs, and how it tells."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from edgecap.benchmarks.matrix import (
    ENVIRONMENTS,
    NEED_TORCH,
    Environment,
    Result,
    _interpreter,
    light_tests,
    page,
    run_environment,
    work,
)

REPO = Path(__file__).resolve().parents[2]


def test_the_oldest_row_pins_the_stated_minima() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [project["dependencies"], extras["onnx"], extras["tflite"], extras["heic"]]
    stated = [Requirement(text) for each in texts for text in each]
    minima = {r.name: str(r.specifier).removeprefix(">=") for r in stated}
    (oldest,) = (row for row in ENVIRONMENTS if row.name == "oldest")
    pinned = dict(package.split("==") for package in oldest.packages)
    assert pinned.keys() == minima.keys()
    for name, version in pinned.items():
        assert version == minima[name] or version.startswith(f"{minima[name]}."), name


def test_tests_that_need_torch_are_left_out_and_others_are_not() -> None:
    found = light_tests(REPO)
    assert "tests/runtime/test_decode.py" in found and "tests/bundle/test_grammar.py" in found
    assert not {"tests/runtime/test_beams.py", "tests/attacks/test_doctored.py"} & set(found)
    for test in NEED_TORCH:  # each deselected name must exist
        file, name = test.split("::")
        assert f"def {name.split('[')[0]}(" in (REPO / file).read_text()


def test_an_interpreter_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = run_environment(Environment("future", "9.99", ()), REPO, tmp_path, [])
    assert result.problem == "python9.99 was not found" and not result.failed
    assert "| future | 9.99 | python9.99 was not found | – |" in page([result])
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_verified_at_every_level_of_optimisation(tiny_bundle_made: Path) -> None:
    told = work([tiny_bundle_made])
    assert told["verified"] == {
        f"{tiny_bundle_made.name} {level}": "ok" for level in ("off", "basic", "all")
    }
    result = Result(ENVIRONMENTS[0], "", told["versions"], "ok: 3 passed", told["verified"])
    assert not result.failed and f"| {tiny_bundle_made.name} off | ok |" in page([result])
    result.verified["x"] = "FAILED: logits"
    assert result.failed


def test_an_interpreter_that_does_not_start_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pyenv's shims of versions that are installed and not chosen."""
    shim, home = tmp_path / "shims" / "python3.99", tmp_path / "home"
    real = home / ".pyenv" / "versions" / "3.99.1" / "bin" / "python3.99"
    for file, code in ((shim, 127), (real, 0)):
        file.parent.mkdir(parents=True)
        file.write_text(f"#!/bin/sh\nexit {code}\n")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", str(shim.parent))
    monkeypatch.setenv("HOME", str(home))
    assert _interpreter("3.99") == str(real)
    shim.write_text("#!/bin/sh\n")
    assert _interpreter("3.99") == str(shim)
    assert _interpreter("3.98") is None
