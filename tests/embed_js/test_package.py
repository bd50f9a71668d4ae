"""The package as npm makes it, and its declarations as the TypeScript compiler reads them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from js_edgecap import MODULES, REPO, SCRIPTS, node

PACKAGE = REPO / "edgecap" / "embed" / "js"


def test_declarations_compile() -> None:
    options = ("--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom")
    resolved = ("--module", "nodenext", "--moduleResolution", "nodenext")
    tsc = MODULES / "node_modules" / "typescript" / "bin" / "tsc"
    ran = node(str(tsc), *options, *resolved, str(SCRIPTS / "types.ts"))
    assert ran.returncode == 0, ran.stdout


def test_what_is_packed_is_what_runs(tmp_path: Path) -> None:
    packed = subprocess.run(
        ["npm", "pack", "--json", "--pack-destination", str(tmp_path)],
        cwd=PACKAGE,
        capture_output=True,
        text=True,
    )
    assert packed.returncode == 0, packed.stderr
    (archive,) = tmp_path.glob("edgecap-*.tgz")
    assert archive.stat().st_size < 60_000
    home = tmp_path / "node_modules" / "edgecap"
    home.mkdir(parents=True)
    subprocess.run(
        ["tar", "-xzf", str(archive), "--strip-components=1", "-C", str(home)], check=True
    )
    have = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    there = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    assert have == there
    script = tmp_path / "use.mjs"
    script.write_text(
        'import { Captioner, EdgecapError } from "edgecap";\n'
        'const error = await Captioner.fromPretrained("nowhere").catch((e) => e);\n'
        "console.log(JSON.stringify([error instanceof EdgecapError, error.code]));\n"
    )
    ran = node(str(script))
    assert json.loads(ran.stdout) == [True, "bundle.missing_file"], ran.stderr
