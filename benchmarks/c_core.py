"""The C core as a target of the bench: built here, run on the engine library of the Python package.

The worker is C alone: its start and its memory are those of an app without Python.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from edgecap.benchmarks.process import Target
from edgecap.bundle.io import Bundle
from edgecap.core.errors import EdgecapError, GateError, MissingPackageError, UnsupportedError
from edgecap.core.scratch import scratch_dir

# Where the Python package of a format's engine keeps the shared library that the core opens.
ENGINES = {
    "tflite": ("ai_edge_litert", "libLiteRt.so"),
    "onnx": ("onnxruntime", "capi/libonnxruntime.so*"),
}
# Of the library's directory: the command line. The PNM reader is the worker's too.
_COMMAND_LINE = ("cli.c", "cli_options.c")
FLAGS = ("-std=c99", "-O2", "-ffp-contract=off")


def targets(
    opened: Sequence[Bundle], images: Sequence[Path], threads: int, stack: ExitStack
) -> tuple[list[Target], dict[str, str]]:
    """A target for each bundle that the core runs, and the others with the reason.

    The worker is built into a directory that lives as long as `stack`.
    """
    found: list[Target] = []
    left_out: dict[str, str] = {}
    worker: Path | None = None
    for bundle in opened:
        name = f"{bundle.path.resolve().name}, C core"
        try:
            library = engine_library(bundle.manifest.format)
            if worker is None:
                folder = stack.enter_context(scratch_dir("edgecap-c-"))
                worker = build(folder)
        except EdgecapError as error:
            left_out[name] = error.message
            continue
        command = (str(worker), str(bundle.path), str(library), str(threads), *map(str, images))
        found.append(Target(name, command, size_bytes=_size(bundle, worker), peer=True))
    return found, left_out


def engine_library(format_: str) -> Path:
    """The engine's shared library; UnsupportedError for a format the core does not run.

    Raises MissingPackageError where the package that carries it is not installed.
    """
    if format_ not in ENGINES:
        raise UnsupportedError("bench.target_c", f"the C core runs no {format_} bundles.")
    package, pattern = ENGINES[format_]
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    libraries = [file for place in places for file in sorted(Path(place).glob(pattern))]
    if not libraries:
        raise MissingPackageError(
            "package.missing",
            f"no shared library of {package} was found.",
            f"Install it with: pip install 'edgecap[{format_}]'",
        )
    return libraries[0]


def build(folder: Path) -> Path:
    """The worker's program in `folder`.

    Raises MissingPackageError without a C compiler, GateError where compiling fails.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise MissingPackageError(
            "package.missing", "there is no C compiler.", "Install one with: make compilers"
        )
    program = folder / "c_worker"
    with (
        resources.as_file(resources.files("edgecap.embed") / "c") as core,
        resources.as_file(resources.files("edgecap.benchmarks") / "c_worker.c") as source,
    ):
        sources = [str(f) for f in sorted(core.glob("*.c")) if f.name not in _COMMAND_LINE]
        command = [compiler, *FLAGS, f"-I{core}", str(source), *sources, "-o", str(program)]
        ran = subprocess.run([*command, "-lm", "-ldl"], capture_output=True, text=True)
    if ran.returncode:
        lines = ran.stderr.strip().splitlines() or ["no message"]
        raise GateError("bench.build", f"the C core does not compile: {lines[-1]}")
    return program


def _size(bundle: Bundle, worker: Path) -> int:
    """What an app ships: the bundle and the program."""
    from edgecap.benchmarks.targets import shipped_bytes

    return shipped_bytes(bundle) + worker.stat().st_size
