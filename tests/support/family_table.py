"""The table of families in README: every family to every format, each bundle past the gate.

    python tests/support/family_table.py [--family NAME]... [--format onnx,tflite]
        [--precision fp32,w8] [--results FILE]

Tiny random checkpoints. A cell names the precisions whose bundle gives the captions or embeddings
of PyTorch, as `edgecap export` asks before it saves one; a refusal is printed below the table.
Each result is one line of FILE, and what FILE holds is not run again: delete it, or a line of it,
to do so. Every family has a process of its own, so that memory does not grow. All of it takes tens
of minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from edgecap.core.errors import EdgecapError
from edgecap.core.formats import FORMATS

NAMES = {
    "BLIP": ("blip", "tiny"),
    "GIT": ("git", "tiny"),
    "ViT-GPT2": ("vision-encoder-decoder", "gpt2"),
    "TrOCR": ("vision-encoder-decoder", "trocr"),
    "Donut": ("vision-encoder-decoder", "donut"),
    "PaliGemma 1": ("paligemma", "one-kv-head"),
    "PaliGemma 2": ("paligemma", "gemma2"),
    "Gemma 3": ("gemma3", "tiny"),
    "Qwen2-VL": ("qwen2_vl", "tiny"),
    "Qwen2.5-VL": ("qwen2_5_vl", "tiny"),
    "Qwen3-VL": ("qwen3_vl", "tiny"),
    "Florence-2": ("florence2", "tiny"),
    "Kosmos-2": ("kosmos-2", "tiny"),
    "Idefics3": ("idefics3", "crops"),
    "SmolVLM": ("smolvlm", "crops"),
    "BLIP-2": ("blip-2", "tiny"),
    "LLaVA 1.5": ("llava", "tiny"),
    "LLaVA-OneVision": ("llava_onevision", "tiny"),
    "CLIP (embeddings)": ("clip", "tiny"),
    "SigLIP (embeddings)": ("siglip", "tiny"),
}
PRECISIONS = ("fp32", "fp16", "w8", "w8a8")
IMAGES = 4


@dataclass(frozen=True)
class Result:
    """One cell's answer at one precision; `error` is empty where the bundle passed its gate."""

    name: str
    format: str
    precision: str
    error: str
    seconds: float


def read(file: Path) -> dict[tuple[str, str, str], Result]:
    """The results a file holds, by name, format and precision; the last of equals counts."""
    lines = file.read_text().splitlines() if file.exists() else []
    found = [Result(**json.loads(line)) for line in lines]
    return {(each.name, each.format, each.precision): each for each in found}


def prove(name: str, formats: list[str], precisions: list[str], file: Path) -> None:
    """Export one family to everything that `file` lacks, and append the answers to it."""
    from tiny_checkpoints import make_whole

    from edgecap.exporters.job import export
    from edgecap.exporters.spec import ExportRequest
    from edgecap.quant.plan import FILE as PLAN

    done = read(file)
    wanted = [(f, p) for p in precisions for f in formats if (name, f, p) not in done]
    with tempfile.TemporaryDirectory() as scratch:
        model = make_whole(*NAMES[name], Path(scratch) / "model")
        for format_, precision in wanted:
            output = Path(scratch) / f"{format_}-{precision}"
            plans = Path(scratch).glob(f"*-w8a8/{PLAN}") if precision == "w8a8" else iter(())
            request = ExportRequest(
                str(model), (format_,), precision, output, scenes=IMAGES, plan=next(plans, None)
            )  # one calibration for all formats
            begun, error = time.monotonic(), ""
            try:
                export(request)
            except EdgecapError as refusal:
                error = str(refusal)
            seconds = round(time.monotonic() - begun, 1)
            answer = Result(name, format_, precision, error, seconds)
            with file.open("a") as results:
                results.write(json.dumps(asdict(answer), ensure_ascii=False) + "\n")
            word = "refused" if error else "passed"
            print(f"{name}, {format_}, {precision}: {word}, {seconds} s", file=sys.stderr)


def table(names: list[str], precisions: list[str], file: Path) -> str:
    """The table in Markdown, and the refusals below it."""
    found = read(file)
    lines = [f"| model | {' | '.join(FORMATS)} |", f"| --- |{' --- |' * len(FORMATS)}"]
    for name in names:
        cells = []
        for format_ in FORMATS:
            answers = [found.get((name, format_, precision)) for precision in precisions]
            cells.append(" ".join(a.precision for a in answers if a is not None and not a.error))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    refused = [each for each in found.values() if each.error and each.name in names]
    return "\n".join(
        [*lines, "", *(f"{r.name} {r.format} {r.precision}: {r.error}" for r in refused)]
    )


def main() -> None:
    """Run a process per family, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--family", action="append", choices=NAMES, help="one row; again for more")
    parser.add_argument("--format", default=",".join(FORMATS), help="some of the default")
    parser.add_argument("--precision", default=",".join(PRECISIONS), help="some of the default")
    parser.add_argument("--results", type=Path, default=Path("build/family_table.jsonl"))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # in this process
    asked = parser.parse_args()
    names = asked.family or list(NAMES)
    formats, precisions = asked.format.split(","), asked.precision.split(",")
    asked.results.parent.mkdir(parents=True, exist_ok=True)
    if asked.here:
        for name in names:
            prove(name, formats, precisions, asked.results)
        return
    for name in names:
        command = [sys.executable, __file__, "--here", "--family", name]
        command += ["--format", asked.format, "--precision", asked.precision]
        command += ["--results", str(asked.results)]
        subprocess.run(command, check=True)
    print(table(names, precisions, asked.results))


if __name__ == "__main__":
    main()
