"""The vectors as files: what the script makes, and small enough to lie in a repository."""

import subprocess
import sys
from pathlib import Path

from vectors import VECTORS


def test_the_script_makes_what_is_committed() -> None:
    script = (
        "import make; from pathlib import Path; made = make.everything(); "
        "kept = {f.name: f.read_bytes() for f in make.VECTORS.iterdir()}; "
        "assert made.keys() == kept.keys(), made.keys() ^ kept.keys(); "
        "print(*[name for name in made if made[name] != kept[name]])"
    )
    folder = VECTORS.parent
    run = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


def test_size() -> None:
    assert sum(file.stat().st_size for file in Path(VECTORS).iterdir()) < 1_200_000
