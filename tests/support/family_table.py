"""The table of families in README: every family to every format, each bundle past the gate.

    python tests/support/family_table.py [PRECISION,... [MODEL,...]]

Tiny random checkpoints. A cell names the precisions whose bundle gives the captions or embeddings
of PyTorch, as `edgecap export` asks before it saves one; a refusal is printed below. Tens of
minutes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tiny_checkpoints import MAKERS, make_whole

from edgecap.core.errors import EdgecapError
from edgecap.core.formats import FORMATS
from edgecap.exporters.job import export
from edgecap.exporters.spec import ExportRequest

NAMES = {
    ("blip", "tiny"): "BLIP",
    ("vision-encoder-decoder", "gpt2"): "ViT-GPT2",
    ("vision-encoder-decoder", "trocr"): "TrOCR",
    ("vision-encoder-decoder", "donut"): "Donut",
    ("git", "tiny"): "GIT",
    ("blip-2", "tiny"): "BLIP-2",
    ("florence2", "tiny"): "Florence-2",
    ("kosmos-2", "tiny"): "Kosmos-2",
    ("idefics3", "tiny"): "Idefics3",
    ("smolvlm", "tiny"): "SmolVLM",
    ("paligemma", "one-kv-head"): "PaliGemma 1",
    ("paligemma", "gemma2"): "PaliGemma 2",
    ("clip", "tiny"): "CLIP (embeddings)",
    ("siglip", "tiny"): "SigLIP (embeddings)",
}


def main(precisions: list[str], titles: list[str]) -> None:
    refusals = []
    print(f"| model | {' | '.join(FORMATS)} |\n| --- |{' --- |' * len(FORMATS)}", flush=True)
    for (family, variant), title in NAMES.items():
        if title not in titles:
            continue
        assert variant in MAKERS[family]
        cells = []
        with tempfile.TemporaryDirectory() as scratch:
            model = make_whole(family, variant, Path(scratch) / "model")
            for format_ in FORMATS:
                passed = []
                for precision in precisions:
                    request = ExportRequest(
                        str(model),
                        (format_,),
                        precision,
                        Path(scratch) / f"{format_}-{precision}",
                        scenes=3,
                    )
                    try:
                        export(request)
                        passed.append(precision)
                    except EdgecapError as error:
                        refusals.append(f"{title} {format_} {precision}: {error}")
                cells.append(" ".join(passed))
        print(f"| {title} | {' | '.join(cells)} |", flush=True)
    print("\n" + "\n".join(refusals))


given = [argument.split(",") for argument in sys.argv[1:]]
main(
    given[0] if given else ["fp32", "fp16", "w8", "w8a8"],
    given[1] if given[1:] else list(NAMES.values()),
)
