"""Targets on another machine, over ssh: the runtime and the bundles are copied, workers run there.

The other machine needs Python with numpy, Pillow and the bundle's engine; nothing is installed
there, and what was copied is deleted at the end. A worker talks through the ssh connection as it
does through a pipe here. It measures its cold start itself: the connection does not count.
"""

from __future__ import annotations

import io
import json
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any

from edgecap.benchmarks.process import Target
from edgecap.bundle.io import Bundle
from edgecap.core.errors import InputError, MissingPackageError

# Rooms that running a bundle and measuring it need; no weights, no converters.
ROOMS = ("core", "mil", "inspection", "bundle", "runtime", "reference", "models")
DATA = ("gate.zip", "*.json", "*.tsv")
CONNECT_S = 10
SSH = ("-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}")


class Remote:
    """A connection, and a directory there that lives as long as the context."""

    def __init__(self, address: str, python: str = "python3", options: Sequence[str] = ()) -> None:
        """`address`: as for ssh; `python`: the command there; `options`: further ones of ssh.

        Raises MissingPackageError without ssh, InputError for an address that is none.
        """
        ssh = shutil.which("ssh")
        if ssh is None:
            raise MissingPackageError(
                "package.missing",
                "--remote needs ssh, which is not installed.",
                "Install an OpenSSH client, or run edgecap bench on that machine.",
            )
        if not address or address.startswith("-") or any(c.isspace() for c in address):
            raise InputError(
                "bench.remote", f"{address!r} is not an address.", "Write it as user@host."
            )
        self._ssh = (ssh, *SSH, *options, address)
        self._address = address
        self.folder = ""  # there
        self._python_command = shlex.quote(python)

    def __enter__(self) -> Remote:
        """Make the directory there and check what the machine has, InputError for what it lacks."""
        self.folder = self._run("mktemp -d", "cannot be reached").decode().strip()
        try:
            self._send(_sources(), "edgecap's runtime")
            check = self._python("import PIL, edgecap.benchmarks.worker")
            self._run(check, "cannot run edgecap, which needs Python with numpy and Pillow")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.folder:
            subprocess.run([*self._ssh, f"rm -rf {shlex.quote(self.folder)}"], capture_output=True)

    def machine(self) -> dict[str, Any]:
        """The result of `machine()` there."""
        code = "import json; from edgecap.benchmarks.machine import machine; "
        output = self._run(self._python(f"{code}print(json.dumps(machine()))"), "does not answer")
        found = json.loads(output)
        return dict(found) | {"remote": True}

    def targets(
        self, opened: Sequence[Bundle], images: Sequence[Path], threads: int
    ) -> list[Target]:
        """The bundles and images are copied; a target each."""
        from edgecap.benchmarks.targets import certified, shipped_bytes

        files = [(Path("images") / image.name, image) for image in images]
        folders = [f"bundles/{i}/{one.path.resolve().name}" for i, one in enumerate(opened)]
        for folder, bundle in zip(folders, opened, strict=True):
            inside = (path for path in sorted(bundle.path.rglob("*")) if path.is_file())
            files += [(Path(folder) / path.relative_to(bundle.path), path) for path in inside]
        self._send(files, "the bundles")
        found = []
        for folder, bundle in zip(folders, opened, strict=True):
            job = {
                "source": f"{self.folder}/{folder}",
                "backend": "auto",
                "threads": threads,
                "images": [f"{self.folder}/images/{image.name}" for image in images],
                "tells_start": True,
                "pinned": True,
            }
            module = f"-m edgecap.benchmarks.worker {shlex.quote(json.dumps(job))}"
            run = f"OMP_NUM_THREADS={threads} exec {self._python_command}"
            command = f"{self._environment()} {run} {module}"
            found.append(
                Target(
                    bundle.path.resolve().name,
                    (*self._ssh, command),
                    size_bytes=shipped_bytes(bundle),
                    parity=certified(bundle),
                )
            )
        return found

    def _environment(self) -> str:
        folder = shlex.quote(self.folder)
        return f"cd {folder} && export PYTHONPATH={folder} PYTHONDONTWRITEBYTECODE=1 &&"

    def _python(self, code: str) -> str:
        return f"{self._environment()} {self._python_command} -c {shlex.quote(code)}"

    def _send(self, files: Sequence[tuple[Path, Path]], what: str) -> None:
        """Copy files to their places under the directory there."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
            for place, file in files:
                archive.add(file, arcname=str(place), recursive=False)
        command = f"tar -xzf - -C {shlex.quote(self.folder)}"
        self._run(command, f"cannot take {what}", packed.getvalue())

    def _run(self, command: str, failure: str, data: bytes = b"") -> bytes:
        ran = subprocess.run([*self._ssh, command], input=data, capture_output=True)
        if ran.returncode:
            lines = ran.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            raise InputError("bench.remote", f"{self._address} {failure}: {lines[-1].strip()}")
        return ran.stdout


def _sources() -> list[tuple[Path, Path]]:
    """(place, file) of the code that runs and measures a bundle, and the scenes of its accuracy."""
    root = Path(str(resources.files("edgecap")))
    bench = Path(str(resources.files("edgecap.benchmarks")))
    found = [(Path("edgecap") / file.name, file) for file in root.glob("*.py")]
    for room in ROOMS:
        found += [(Path("edgecap") / file.relative_to(root), file) for file in _code(root / room)]
    for file in (root / "reference").rglob("*"):
        if any(file.match(pattern) for pattern in DATA):
            found.append((Path("edgecap") / file.relative_to(root), file))
    place = Path("edgecap/benchmarks")
    return found + [(place / file.relative_to(bench), file) for file in _code(bench)]


def _code(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.rglob("*.py"))
