"""`make fuzz`: libFuzzer on what C reads: manifest, tokenizer, image, packed bundle.

    python tests/embed/fuzz/run.py [--seconds N] [--keep] [TARGET...]

Seeds are made of the conformance vectors and added to the kept corpus. An input that breaks the
core is left in build/fuzz and its path printed. With --keep the kept corpus becomes the smallest
set of inputs that reaches what was reached.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "support"))
VECTORS = REPOSITORY / "conformance" / "vectors"
BUILD = REPOSITORY / "build" / "fuzz"
CORPUS = HERE / "corpus"
TARGETS = ("manifest", "tokenizer", "image", "container")
MOST_KEPT = 2048  # bytes of an input in the kept corpus


def _vectors(name: str) -> dict:
    return json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


def _manifests() -> Iterator[bytes]:
    topics = ("manifests", "manifests2", "manifests_cached", "manifests_crops")
    for told in map(_vectors, topics):
        for case in told["cases"]:
            text = told["base"]
            for old, new in case["replace"]:
                text = text.replace(old, new, 1)
            yield text.encode()
    for file in _vectors("manifests")["files"]:
        yield base64.b64decode(file["base64"])


def _tokenizers() -> Iterator[bytes]:
    texts = ("a dog", "e\u0301l\u00e9phant <eos>", "", "\u4e00\u53ea\u72d7 \U0001f436")
    files = [codec["file"] for codec in _vectors("codecs")["codecs"]]
    files += [_small_tokenizer()]
    for file in files:
        for text in texts:
            yield text.encode() + b"\0" + file.encode()


def _small_tokenizer() -> str:
    """The vectors' tokenizer with its bytes, a few letters and no merge but one."""
    whole = _vectors("tokenizer")
    vocabulary = whole["model"]["vocab"]
    letters = [t for t in vocabulary if len(t) == 1 and t.isascii()]
    special = [token["content"] for token in whole["added_tokens"]]
    chosen = [*special, *(f"<0x{n:02X}>" for n in range(256)), "\u2581", *letters]
    numbers = {token: n for n, token in enumerate(dict.fromkeys(chosen))}
    whole["model"] |= {"vocab": numbers, "merges": []}
    for token in whole["added_tokens"]:
        token["id"] = numbers[token["content"]]
    return json.dumps(whole, ensure_ascii=False)


def _images() -> Iterator[bytes]:
    for width, height in ((1, 1), (7, 5), (1, 300), (640, 2), (255, 256)):
        for format_, channels in enumerate((1, 2, 3, 3, 4, 4)):
            for orientation in (1, 6):
                head = b"".join(
                    n.to_bytes(2, "little") for n in (width, height, width * channels + 3)
                )
                n = format_ + orientation
                rest = bytes((format_, orientation, 31, 128, n, 20, 40, n, n, n, 12, 30, 7, n))
                yield head + rest + bytes(range(4, 8)) + bytes(range(64))


def _containers() -> Iterator[bytes]:
    data = (VECTORS / "containers.bin").read_bytes()
    for case in _vectors("containers")["cases"]:
        yield data[case["at"] : case["at"] + case["length"]]


SEEDS = {
    "manifest": _manifests,
    "tokenizer": _tokenizers,
    "image": _images,
    "container": _containers,
}


def build(target: str) -> Path:
    """The fuzz target with address and undefined-behaviour sanitizers."""
    from c_edgecap import SOURCES, STRICT, core

    program = BUILD / target
    BUILD.mkdir(parents=True, exist_ok=True)
    flags = [*STRICT, "-g", "-O1", "-fsanitize=fuzzer,address,undefined"]
    flags += ["-fno-sanitize-recover=all", f"-I{SOURCES}"]
    command = ["clang", *flags, str(HERE / f"{target}.c"), *core(), "-o", str(program)]
    subprocess.run([*command, "-lm", "-ldl"], check=True)
    return program


def fuzz(target: str, seconds: int, keep: bool) -> bool:
    """Run a target and print its last line; false where an input broke it."""
    program = build(target)
    seeds, found, kept = BUILD / f"{target}-seeds", BUILD / f"{target}-found", CORPUS / target
    for folder in (seeds, found):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for seed in SEEDS[target]():
        (seeds / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    run = subprocess.run(
        [program, f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048"]
        + ["-print_final_stats=1", f"-artifact_prefix={BUILD / target}-broken-"]
        + [found, kept, seeds],
        capture_output=True,
        text=True,
    )
    lines = run.stderr.splitlines()
    stats = [x.split(":")[-1].strip() for x in lines if "number_of_executed_units" in x]
    cover = [x for x in lines if "cov:" in x][-1:]
    print(f"{target}: {stats}, exit {run.returncode}", *cover, flush=True)
    if run.returncode != 0:
        print("\n".join(lines[-60:]))
    elif keep:
        _keep(program, found, kept)
    return run.returncode == 0


def _keep(program: Path, found: Path, kept: Path) -> None:
    """The smallest set of inputs that reach what all of them reach; large ones stay out."""
    merged = found.with_name(f"{found.name}-merged")
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    subprocess.run([program, "-merge=1", merged, kept, found], check=True, capture_output=True)
    kept.mkdir(parents=True, exist_ok=True)
    for file in kept.iterdir():
        file.unlink()
    for file in merged.iterdir():
        if file.stat().st_size <= MOST_KEPT:
            shutil.copy(file, kept / file.name[:12])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    done = [fuzz(name, given.seconds, given.keep) for name in given.targets or TARGETS]
    sys.exit(0 if all(done) else 1)
