"""The C core against the vectors."""

import subprocess
from pathlib import Path

from vectors import VECTORS


def test_every_vector(conformance: Path) -> None:
    run = subprocess.run([conformance, VECTORS], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    checks = int(run.stdout.split()[0])
    assert checks > 2000


def test_a_vector_that_is_altered_is_noticed(conformance: Path, tmp_path: Path) -> None:
    for file in VECTORS.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    pixels = tmp_path / "resize.bin"
    data = bytearray(pixels.read_bytes())
    data[100] ^= 1
    pixels.write_bytes(data)
    words = tmp_path / "words.json"
    words.write_text(words.read_text("utf-8").replace('"A dog', '"B dog'), "utf-8")
    run = subprocess.run([conformance, tmp_path], capture_output=True, text=True)
    assert run.returncode == 1
    assert "resize" in run.stdout and "encode B dog" in run.stdout
