"""What the tests of the C library share: one build of each kind, and tiny bundles."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from c_edgecap import CHECKED, NOT_CORE, RUNNER, SOURCES, Library, compile_c, core
from made_once import made_once
from tiny_formats import write


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The shared library, optimised."""
    return Library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def checked_core(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The core with the sanitizers, as an archive to link with."""

    def make(place: Path) -> None:
        compile_c(*CHECKED, "-c", *core(), directory=place)
        subprocess.run(["ar", "rcs", "core.a", *sorted(place.glob("*.o"))], cwd=place, check=True)

    return str(made_once(tmp_path_factory, "checked-core", make) / "core.a")


@pytest.fixture(scope="session")
def checked_cli(checked_core: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command line with the address and undefined-behaviour sanitizers."""
    path = tmp_path_factory.mktemp("cli") / "edgecap-caption"
    extra = [str(SOURCES / name) for name in NOT_CORE]
    compile_c(*CHECKED, *extra, checked_core, "-o", str(path), "-lm", "-ldl")
    return path


@pytest.fixture(scope="session")
def conformance(checked_core: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The replay of the vectors, with the sanitizers."""
    path = tmp_path_factory.mktemp("conformance") / "conformance"
    runner = [str(file) for file in sorted(RUNNER.glob("vectors*.c"))]
    compile_c(*CHECKED, *runner, checked_core, "-o", str(path), "-lm", "-ldl")
    return path


@pytest.fixture(scope="session")
def faults(checked_core: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that lets memory run out, with the sanitizers."""
    path = tmp_path_factory.mktemp("faults") / "faults"
    faults_c = str(RUNNER / "faults.c")
    compile_c(*CHECKED, faults_c, checked_core, "-o", str(path), "-lm", "-ldl")
    return path


@pytest.fixture(scope="session")
def threads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of several threads, with the thread sanitizer."""
    path = tmp_path_factory.mktemp("threads") / "threads"
    flags = ("-g", "-O1", "-fsanitize=thread")
    source = str(RUNNER / "threads.c")
    compile_c(*flags, source, *core(), "-o", str(path), "-lm", "-ldl", "-lpthread")
    return path


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A tiny bundle of each format that the library runs; nobody may change them."""
    folder = tmp_path_factory.mktemp("bundles")
    yield {format_: write(format_, folder) for format_ in ("tflite", "onnx")}
