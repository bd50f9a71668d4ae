"""`make check-portable`: the C core for systems that are not here, with the compiler `zig cc`.

    python tests/embed/check_portable.py ZIG

The library is compiled for every target, without a warning; where qemu runs the target, the
conformance vectors are replayed on it, so the bits are those of x86-64. ZIG is `python -m ziglang`
of an environment that has ziglang.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "support"))
BUILD = REPOSITORY / "build" / "portable"
TARGETS = {  # target of zig: the emulator that runs it
    "aarch64-macos": None,
    "x86_64-macos": None,
    "x86_64-windows-gnu": None,
    "aarch64-windows-gnu": None,
    "x86_64-linux-musl": "",
    "aarch64-linux-musl": "qemu-aarch64-static",
    "arm-linux-musleabihf": "qemu-arm-static",
    "riscv64-linux-musl": "qemu-riscv64-static",
    "wasm32-wasi": None,
}


def check(zig: list[str], target: str, emulator: str | None) -> bool:
    """Compile, and replay the vectors where they can run; prints one line."""
    from c_edgecap import RUNNER, SOURCES, STRICT, core
    from vectors import VECTORS

    program = BUILD / target
    flags = [*STRICT, "-O2", "-ffp-contract=off", f"-I{SOURCES}", "-target", target]
    link = ["-lm", "-ldl"]
    if emulator is None:
        objects = BUILD / f"{target}.objects"
        shutil.rmtree(objects, ignore_errors=True)
        objects.mkdir(parents=True)
        whole = ["-shared", "-o", "edgecap.dll"] if "windows" in target else ["-c"]
        command = [*zig, "cc", *flags, *whole, *core()]
        run = subprocess.run(command, capture_output=True, text=True, cwd=objects)
    else:
        sources = [*core(), *(str(file) for file in sorted(RUNNER.glob("vectors*.c")))]
        command = [*zig, "cc", *flags, *sources, "-o", str(program), *link]
        run = subprocess.run(command, capture_output=True, text=True)
    said = "compiles"
    if run.returncode == 0 and emulator is not None:
        command = [*([emulator] if emulator else []), str(program), str(VECTORS)]
        run = subprocess.run(command, capture_output=True, text=True)
        said = run.stdout.strip().splitlines()[-1] if run.stdout.strip() else "nothing was said"
    print(f"{target}: {said if run.returncode == 0 else 'FAILED'}", flush=True)
    if run.returncode != 0:
        print((run.stdout + run.stderr)[-2000:])
    return run.returncode == 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: check_portable.py ZIG")
    BUILD.mkdir(parents=True, exist_ok=True)
    given = shlex.split(sys.argv[1])
    done = [check(given, target, emulator) for target, emulator in TARGETS.items()]
    sys.exit(0 if all(done) else 1)
