"""The runtime on every Python and on the oldest and newest versions of what it needs.

    python -m edgecap.benchmarks.matrix BUNDLE... -o docs/matrix.md

makes an environment per row of ENVIRONMENTS in .venv-matrix/, from the index that pip is set up
for, and in each

    tests    runs the tests of the rooms that need no torch (ROOMS)
    verify   replays `edgecap verify` of every bundle on each engine that is installed; ONNX also
             with graph optimisation off and basic

An interpreter that is not found is listed in the table. The exit code is 1 where something failed.
Run it in a checkout: the tests are not in the wheel.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from edgecap.benchmarks.machine import machine
from edgecap.core.atomic import write_file
from edgecap.core.command import run_command
from edgecap.core.errors import GateError, InputError

ROOMS = ("core", "bundle", "runtime", "conformance", "inspection", "attacks", "apps")
# Builds files with the schema of a newer LiteRT than the oldest; it runs in `make test`.
NEW_SCHEMA = "tests/inspection/test_tflite_check.py"
# What a test must not import, directly or through tests/support, to run in these environments.
HEAVY = frozenset(
    ("torch", "transformers", "tokenizers", "coremltools", "litert_torch", "matplotlib", "cv2")
    + ("usearch", "pillow_heif", "edgecap.exporters", "edgecap.quant")
    + ("edgecap.reference.model", "edgecap.reference.train")
)
OPTIMISATION = ("off", "basic", "all")
PACKAGES = ("numpy", "pillow", "onnxruntime", "ai-edge-litert", "tflite-runtime", "tensorflow")
TESTING = ("pytest", "hypothesis", "onnx", "usearch", "pillow-heif")
# Tests in files that are otherwise light, whose subject needs torch or matplotlib.
NEED_TORCH = (
    "tests/apps/retrieval/test_search_commands.py::test_a_model_that_has_moved_is_to_be_named",
    "tests/core/test_command.py::test_every_command_refuses_in_one_line",
    "tests/runtime/test_commands.py::test_a_larger_shipped_model_does_not_become_the_default",
    "tests/runtime/test_out_of_memory.py::test_the_batch_is_halved[torch]",
)


@dataclass(frozen=True)
class Environment:
    """One row: an interpreter and the packages that are pinned."""

    name: str
    python: str
    packages: tuple[str, ...]
    tests: bool = True


@dataclass
class Result:
    """What happened in one environment."""

    environment: Environment
    problem: str = ""  # why there is nothing: not found, not installable
    versions: dict[str, str] = field(default_factory=dict)
    tests: str = "–"
    verified: dict[str, str] = field(default_factory=dict)  # bundle and engine -> verdict

    @property
    def failed(self) -> bool:
        """Whether something ran and went wrong."""
        bad = [v for v in (self.tests, *self.verified.values()) if not v.startswith(("ok", "–"))]
        return bool(bad) or "pip" in self.problem


# The oldest are the minima of pyproject.toml; tests/benchmarks/test_matrix.py compares them.
OLDEST = ("numpy==1.26.0", "pillow==10.3.0", "typer==0.28.0", "rich==13.8.0", "pillow-heif==0.18.0")
NEWEST = ("onnxruntime", "ai-edge-litert")
ENVIRONMENTS = (
    Environment("oldest", "3.11", (*OLDEST, "onnxruntime==1.20.0", "ai-edge-litert==2.0.2")),
    Environment("newest, 3.11", "3.11", NEWEST, tests=False),
    Environment("newest, 3.12", "3.12", NEWEST),
    Environment("newest, 3.13", "3.13", NEWEST),
    Environment("newest, 3.14", "3.14", NEWEST),
    Environment("NumPy 1.26", "3.12", ("numpy==1.26.4", "onnxruntime", "ai-edge-litert"), False),
    Environment("old board", "3.11", ("numpy<2", "tflite-runtime==2.14.0"), tests=False),
    Environment("TensorFlow", "3.11", ("tensorflow",), tests=False),
)


def run_environment(row: Environment, root: Path, home: Path, bundles: Sequence[Path]) -> Result:
    """Make the environment if it is not there, and run everything in it."""
    result = Result(row)
    python = _interpreter(row.python)
    if python is None:
        result.problem = f"python{row.python} was not found"
        return result
    environment = home / row.name.replace(", ", "-").replace(" ", "-").lower()
    inside = environment / "bin" / "python"
    if not (environment / ".installed").exists():
        shutil.rmtree(environment, ignore_errors=True)
        failure = _run([python, "-m", "venv", str(environment)], root)
        install = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        failure = failure or _run(
            [*install, "--editable", str(root), *TESTING, *row.packages], root
        )
        if failure:
            result.problem = f"pip: {failure}"
            return result
        (environment / ".installed").touch()
    worker = [str(inside), "-m", "edgecap.benchmarks.matrix", "--worker"]
    found = subprocess.run(
        [*worker, *map(str, bundles)], capture_output=True, text=True, cwd=root, env=_environ()
    )
    if found.returncode:
        result.problem = f"worker: {found.stderr.strip().splitlines()[-1]}"
        result.verified["all"] = "FAILED"
        return result
    output = json.loads(found.stdout.splitlines()[-1])
    result.versions, result.verified = output["versions"], output["verified"]
    if row.tests:
        result.tests = _tests(inside, root)
    return result


def light_tests(root: Path) -> list[str]:
    """The test files of ROOMS that need nothing of HEAVY, relative to the checkout."""
    support = {file.stem: file for file in (root / "tests" / "support").glob("*.py")}
    heavy: dict[str, bool] = {}

    def is_heavy(file: Path) -> bool:
        heavy[str(file)] = False  # while it is looked at: imports may go round
        names = set(_imports(file, file.parent.name == "support"))
        found = any(n == h or n.startswith(f"{h}.") for n in names for h in HEAVY) or any(
            heavy[str(support[n])] if str(support[n]) in heavy else is_heavy(support[n])
            for n in names & support.keys()
        )
        heavy[str(file)] = found
        return found

    files = sorted(f for room in ROOMS for f in (root / "tests" / room).rglob("test_*.py"))
    names = [str(file.relative_to(root)) for file in files if not is_heavy(file)]
    return [name for name in names if name != NEW_SCHEMA]


def _imports(file: Path, at_once: bool) -> Iterable[str]:
    """The modules that a file imports, inside functions too unless only those `at_once` count."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _tests(python: Path, root: Path) -> str:
    """The last line of pytest, which counts those that passed."""
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *light_tests(root)]
    command += [part for test in NEED_TORCH for part in ("--deselect", test)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=root, env=_environ())
    lines = run.stdout.strip().splitlines() or run.stderr.strip().splitlines() or ["nothing"]
    if run.returncode:
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        print("\n".join(failed[:20]), file=sys.stderr)
        return f"FAILED: {lines[-1]}"
    return f"ok: {lines[-1].split(' in ')[0]}"


def _run(command: Sequence[str], root: Path) -> str:
    """The last line of what went wrong; empty where nothing did."""
    run = subprocess.run(command, capture_output=True, text=True, cwd=root)
    errors = [line for line in run.stderr.splitlines() if line.startswith("ERROR")]
    return (errors or [f"exit code {run.returncode}"])[0] if run.returncode else ""


def _environ() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _interpreter(version: str) -> str | None:
    """The first that starts: on the PATH, or of pyenv, whose shims start only chosen versions."""
    name = f"python{version}"
    pyenv = (Path.home() / ".pyenv" / "versions").glob(f"{version}*/bin/{name}")
    for found in (shutil.which(name), *map(str, sorted(pyenv, reverse=True))):
        if found and not _run([found, "-c", ""], Path.cwd()):
            return found
    return None


def work(bundles: Sequence[Path]) -> dict[str, Any]:
    """In an environment: the versions, and the verdict on every bundle and engine there is."""
    from importlib.metadata import PackageNotFoundError, version

    versions: dict[str, str] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    engines = {"onnx": ("onnxruntime",), "tflite": PACKAGES[3:], "coreml": ("numpy",)}
    verified = {}
    for bundle in bundles:
        format_ = json.loads((bundle / "manifest.json").read_bytes())["format"]
        if not any(package in versions for package in engines[format_]):
            continue
        for level in OPTIMISATION if format_ == "onnx" else ("",):
            verified[f"{bundle.name} {level}".strip()] = _verdict(bundle, format_, level)
    return {"versions": versions, "verified": verified}


def _verdict(bundle: Path, format_: str, level: str) -> str:
    from edgecap import api

    if level:
        _optimise(level)
    try:
        found = api.verify(bundle, "mlprogram" if format_ == "coreml" else "auto").here
    except Exception as error:  # whatever an engine raises is this cell's content
        return f"FAILED: {' '.join(str(error).split())}"
    return f"FAILED: {'; '.join(found.failures)}" if found.failures else "ok"


def _optimise(level: str) -> None:
    """Sessions that are opened from now on optimise their graphs so far."""
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    chosen = {
        "off": levels.ORT_DISABLE_ALL,
        "basic": levels.ORT_ENABLE_BASIC,
        "all": levels.ORT_ENABLE_ALL,
    }[level]
    original = getattr(onnxruntime, "_edgecap_options", onnxruntime.SessionOptions)
    onnxruntime._edgecap_options = original

    def options() -> Any:
        made = original()
        made.graph_optimization_level = chosen
        return made

    onnxruntime.SessionOptions = options


def page(results: Sequence[Result]) -> str:
    """docs/matrix.md."""
    known = machine()
    lines = [
        "# Runtime matrix",
        "",
        "Written by `make matrix`; edits here are lost. "
        f"{date.today().isoformat()}, {known.get('cpu', 'unknown CPU')}.",
        "",
        "Tests are those of the runtime that need no torch. `verify` replays a bundle's golden",
        "cases on the engine of the environment; ONNX with graph optimisation off, basic and all.",
        "",
        "| environment | Python | versions | tests |",
        "| --- | --- | --- | --- |",
    ]
    for one in results:
        shown = ", ".join(f"{name} {version}" for name, version in one.versions.items())
        lines.append(
            f"| {one.environment.name} | {one.environment.python} | {one.problem or shown} "
            f"| {one.tests} |"
        )
    rows = list(dict.fromkeys(name for one in results for name in one.verified))
    ran = [one for one in results if one.verified]
    lines += ["", "| `verify` | " + " | ".join(one.environment.name for one in ran) + " |"]
    lines.append("| --- |" + " --- |" * len(ran))
    for name in rows:
        lines.append(f"| {name} | " + " | ".join(o.verified.get(name, "–") for o in ran) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = ArgumentParser(prog="python -m edgecap.benchmarks.matrix")
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("-o", "--output", type=Path, help="write the table as Markdown")
    parser.add_argument("--only", action="append", metavar="NAME", help="these environments")
    parser.add_argument("--worker", action="store_true", help="verify here, and print JSON")
    args = parser.parse_args(arguments)
    return run_command("matrix", lambda: _main(args))


def _main(args: Namespace) -> None:
    bundles = [bundle.resolve() for bundle in args.bundles]
    if args.worker:
        print(json.dumps(work(bundles)))
        return
    root = Path(__file__).resolve().parents[1]
    if not (root / "tests").is_dir():
        raise InputError("matrix.checkout", "the matrix runs in a checkout; its tests are there.")
    chosen = [row for row in ENVIRONMENTS if not args.only or row.name in args.only]
    if not chosen:
        names = ", ".join(repr(row.name) for row in ENVIRONMENTS)
        raise InputError("matrix.only", f"no environment of that name; there are {names}.")
    results = []
    for row in chosen:
        results.append(run_environment(row, root, root / ".venv-matrix", bundles))
        one = results[-1]
        print(f"{row.name}: {one.problem or one.versions}; tests {one.tests}; {one.verified}")
    if args.output is not None:
        write_file(args.output, page(results).encode())
    failed = [one.environment.name for one in results if one.failed]
    if failed:
        raise GateError("matrix.failed", f"something failed in: {', '.join(failed)}.")


if __name__ == "__main__":
    sys.exit(main())
