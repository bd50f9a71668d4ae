"""The conformance vectors under valgrind: it sees reads of memory that was never written."""

import subprocess
from pathlib import Path

import pytest
from c_edgecap import RUNNER, compile_c, core
from vectors import VECTORS


@pytest.mark.full
def test_every_vector(tmp_path: Path) -> None:
    runner = [str(file) for file in sorted(RUNNER.glob("vectors*.c"))]
    program = str(tmp_path / "conformance")
    compile_c("-g", "-O1", *runner, *core(), "-o", program, "-lm", "-ldl")
    command = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", program, VECTORS]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    assert run.stderr == "" and int(run.stdout.split()[0]) > 2000
