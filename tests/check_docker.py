"""Runs the steps of the Dockerfile without Docker: its RUN line, then its ENTRYPOINT on bundles.

    python tests/check_docker.py BUNDLE... [--python python3.13]

A folder takes the place of the image's root. COPY takes what .dockerignore admits; `python` is a
new environment of the given Python, whose packages are only pip's; and the program starts with
nothing in its environment but the Dockerfile's ENV. What this cannot show is Docker's own work and
the base image.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
IMAGE = REPO / "examples" / "captioned.png"


def main() -> int:
    """The command; 0 where every step worked and every bundle captions."""
    parser = ArgumentParser()
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--python", default="python3.13")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgecap-docker-") as place:
        return check(Path(place), args.python, [bundle.resolve() for bundle in args.bundles])


def check(root: Path, python: str, bundles: list[Path]) -> int:
    """Build and run below `root`."""
    text = re.sub(r"\\\n\s*", "", (REPO / "Dockerfile").read_text())
    source = root / "src"
    copy_context(source)
    subprocess.run([python, "-m", "venv", root / "env"], check=True)
    command = (root / "env" / "bin" / "python").as_posix()
    for line in re.findall(r"^RUN (.*)", text, re.M):
        step = line.replace("python ", f"{command} ")
        for folder in ("/wheels", "/opt/"):
            step = step.replace(folder, f"{root}{folder}")
        subprocess.run(step, shell=True, check=True, cwd=source)
    ((built, copied),) = re.findall(r"^COPY --from=build (\S+) (\S+)$", text, re.M)
    if built != copied:
        raise SystemExit(f"the image has {copied}, and {built} was built")
    ((program, *arguments),) = map(json.loads, re.findall(r"^ENTRYPOINT (.*)", text, re.M))
    if program != "python":
        raise SystemExit(f"the image starts {program}, not python")
    environment = dict(
        pair.split("=", 1) for line in re.findall(r"^ENV (.*)", text, re.M) for pair in line.split()
    )
    environment["PYTHONPATH"] = f"{root}{environment['PYTHONPATH']}"
    size = sum(file.stat().st_size for file in (root / "opt").rglob("*") if file.is_file())
    print(f"packages: {size / 1e6:.0f} MB")
    for bundle in bundles:
        done = subprocess.run(
            [command, "-S", *arguments, "caption", IMAGE, "--bundle", bundle],
            env=environment,
            cwd=root,
            capture_output=True,
            text=True,
        )
        print(f"{bundle.name}: {done.stdout.strip() or done.stderr.strip()}")
        if done.returncode:
            return done.returncode
    return 0


def copy_context(target: Path) -> None:
    """What .dockerignore admits of the repository."""
    lines = (REPO / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    if rules[0] != "*":
        raise SystemExit(".dockerignore no longer begins with *")
    target.mkdir(parents=True)
    left_out = [rule.removeprefix("**/") for rule in rules if rule.startswith("**/")]
    for rule in rules:
        source, copy = REPO / rule[1:], target / rule[1:]
        if rule.startswith("!") and source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*left_out))
        elif rule.startswith("!"):
            shutil.copy2(source, copy)


if __name__ == "__main__":
    sys.exit(main())
