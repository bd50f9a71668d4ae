"""What the tests of the C library share: one build of each kind, and tiny bundles."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from c_edgecap import CHECKED, NOT_CORE, RUNNER, SOURCES, Library, compile_c, core
from tiny_formats import write


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The shared library, optimised."""
    return Library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def checked_cli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command line with the address and undefined-behaviour sanitizers."""
    path = tmp_path_factory.mktemp("cli") / "edgecap-caption"
    extra = [str(SOURCES / name) for name in NOT_CORE]
    compile_c(*CHECKED, *core(), *extra, "-o", str(path), "-lm", "-ldl")
    return path


@pytest.fixture(scope="session")
def conformance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The replay of the vectors, with the sanitizers."""
    path = tmp_path_factory.mktemp("conformance") / "conformance"
    runner = [str(file) for file in sorted(RUNNER.glob("vectors*.c"))]
    compile_c(*CHECKED, *runner, *core(), "-o", str(path), "-lm", "-ldl")
    return path


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that lets memory run out, with the sanitizers."""
    path = tmp_path_factory.mktemp("faults") / "faults"
    compile_c(*CHECKED, str(RUNNER / "faults.c"), *core(), "-o", str(path), "-lm", "-ldl")
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
