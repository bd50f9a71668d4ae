"""Build the wheel edgecap-runtime: python packaging/runtime/build.py -o DIR

The sources are copied (edgecap.embed.runtime_files names them) beside the pyproject.toml that lies
here, and pip makes a wheel of that.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from edgecap.embed.runtime_files import copy_runtime

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("dist"))
    output: Path = parser.parse_args().output
    with TemporaryDirectory(prefix="edgecap-runtime-") as folder:
        tree = Path(folder)
        copy_runtime(tree / "edgecap")
        for file in (
            HERE / "pyproject.toml",
            HERE / "README.md",
            REPO / "LICENSE",
            REPO / "NOTICE",
        ):
            shutil.copy(file, tree)
        command = [sys.executable, "-m", "pip", "wheel", str(tree), "--no-deps", "-w", str(output)]
        subprocess.run([*command, "--no-build-isolation", "--quiet"], check=True)
    (wheel,) = output.glob("edgecap_runtime-*.whl")
    print(f"{wheel}: {wheel.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
