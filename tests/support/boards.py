"""ARM processors without a board: the C command line, cross-compiled, under qemu's user mode.

Engines come from the wheels that a board would install. A root directory beside them holds the C
library and what the engines' processor detection reads; without it they see the host's files and
crash. `part` must fit `-cpu`, or the engine chooses instructions that the processor has not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from c_edgecap import NOT_CORE, SOURCES, STRICT, core

from edgecap.runtime.captions import Caption

BUILD = Path(__file__).resolve().parents[2] / "build" / "arm"
ENGINES = {  # format: (package, platform of its wheel, library inside)
    "tflite": ("ai-edge-litert", "manylinux_2_27_aarch64", "ai_edge_litert/libLiteRt.so"),
    "onnx": ("onnxruntime", "manylinux_2_28_aarch64", "onnxruntime/capi/libonnxruntime.so*"),
}
_SUITE = Path(__file__).resolve().parents[1] / "embed" / "debian_suite.sh"


@dataclass(frozen=True)
class Board:
    """A processor by qemu's name; `part` is what its /proc/cpuinfo says."""

    cpu: str
    part: str
    features: str
    known_as: str
    target: str = "aarch64-linux-gnu"

    @property
    def narrow(self) -> bool:
        """Whether it has 32 bits: its engine is TensorFlow Lite, of a newer Debian."""
        return self.target != "aarch64-linux-gnu"


_V8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
BOARDS = {
    "a53": Board("cortex-a53", "0xd03", _V8, "Raspberry Pi 3"),
    "a72": Board("cortex-a72", "0xd08", _V8, "Raspberry Pi 4"),
    "a76": Board(
        "cortex-a76", "0xd0b", f"{_V8} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp", "Pi 5"
    ),
}
NARROW = Board("cortex-a15", "", "", "32-bit", "arm-linux-gnueabihf")


def root(board: Board) -> Path:
    """A directory for qemu's -L: the C library and the processor that the engines detect."""
    path = BUILD / f"root-{board.cpu}"
    if path.exists():
        return path
    if board.narrow:
        wanted = ["libtensorflow-lite-dev", "libc6", "libstdc++6", "libgcc-s1"]
        _run([str(_SUITE), "sid", "armhf", str(path), "-d", *wanted])
        (path / "lib").symlink_to("usr/lib")
        return path
    (path / "lib").parent.mkdir(parents=True, exist_ok=True)
    if not (path / "lib").is_symlink():
        (path / "lib").symlink_to(f"/usr/{board.target}/lib")
    told = {
        "proc/cpuinfo": f"processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: {board.features}\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
        f"CPU part\t: {board.part}\nCPU revision\t: 3\n",
        "possible": "0\n",
        "present": "0\n",
        "kernel_max": "0\n",
        "cpu0/topology/physical_package_id": "0\n",
        "cpu0/topology/cluster_cpus_list": "0\n",
        "cpu0/cpufreq/cpuinfo_max_freq": "1800000\n",
        "cpu0/cpufreq/cpuinfo_min_freq": "600000\n",
    }
    for name, text in told.items():
        file = path / (name if name.startswith("proc") else f"sys/devices/system/cpu/{name}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return path


def engine(board: Board, format_: str) -> Path:
    """The engine's library: for 64 bits of the release that is installed here."""
    if board.narrow:
        return root(board) / "usr" / "lib" / board.target / "libtensorflow-lite.so"
    package, platform, pattern = ENGINES[format_]
    wheels = BUILD / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    name = package.replace("-", "_")
    found = sorted(wheels.glob(f"{name}-{version(package)}-*{platform}*.whl"))
    if not found:
        _run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            + ["--only-binary", ":all:", "--platform", platform, "--python-version", "3.11"]
            + ["--dest", str(wheels), f"{package}=={version(package)}"]
        )
        found = sorted(wheels.glob(f"{name}-{version(package)}-*{platform}*.whl"))
    unpacked = wheels / found[0].stem
    if not unpacked.exists():
        with zipfile.ZipFile(found[0]) as wheel:
            wanted = [n for n in wheel.namelist() if Path(n).match(Path(pattern).name)]
            wheel.extractall(unpacked, wanted)
    (library,) = unpacked.glob(pattern)
    return library


def command_line(board: Board) -> Path:
    """edgecap-caption, as strictly compiled as at home."""
    path = BUILD / f"edgecap-caption-{board.target}"
    path.parent.mkdir(parents=True, exist_ok=True)
    extra = [str(SOURCES / name) for name in NOT_CORE]
    command = [f"{board.target}-gcc", *STRICT, "-O2", "-ffp-contract=off", f"-I{SOURCES}"]
    _run([*command, *core(), *extra, "-o", str(path), "-lm", "-ldl"])
    return path


def caption(
    board: Board, program: Path, bundle: Path, image: np.ndarray, *options: str
) -> dict[str, Any]:
    """What the command line says of uint8 [h,w,3], as JSON."""
    format_ = json.loads((bundle / "manifest.json").read_bytes())["format"]
    emulator = [f"qemu-{'arm' if board.narrow else 'aarch64'}-static", "-cpu", board.cpu]
    emulator += ["-L", str(root(board)), "-E", f"LD_LIBRARY_PATH=/usr/lib/{board.target}"]
    given = ["--json", "--library", str(engine(board, format_)), *options]
    pixels = BUILD / "image.rgb"
    pixels.write_bytes(np.ascontiguousarray(image).tobytes())
    raw = ["--raw", "rgb", f"{image.shape[1]}x{image.shape[0]}"]
    said = json.loads(_run([*emulator, str(program), *given, *raw, str(bundle), str(pixels)]))
    assert isinstance(said, dict)
    return said


def agrees(said: dict[str, Any], expected: Caption, bin_px: int) -> bool:
    """The same words, and each box within one bin."""
    ours = [box for phrase in said["phrases"] for box in phrase["boxes"]]
    theirs = [box for mention in expected.mentions for box in mention.boxes]
    return (
        said["text"] == expected.text
        and len(ours) == len(theirs)
        and all(
            abs(a - b) <= bin_px
            for one, other in zip(ours, theirs, strict=True)
            for a, b in zip(one, other, strict=True)
        )
    )


def _run(command: list[str]) -> str:
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, f"{command[0]}: {run.returncode}\n{run.stdout}{run.stderr}"
    return run.stdout
