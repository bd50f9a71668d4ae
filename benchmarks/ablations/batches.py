"""Batched against sequential: `benchmarks.batched` on the shipped weights, as an ablation."""

from __future__ import annotations

from edgecap.benchmarks.ablations.experiment import Ablation, Row
from edgecap.benchmarks.batched import measure
from edgecap.core.digest import file_sha256
from edgecap.model.weights import resolve
from edgecap.runtime import load
from edgecap.scenes.shipped import load_set

MODEL = "S"
PICTURES, ROUNDS = 16, 3
SIZES = (2, 4, 8, 16)


def timed_weights() -> str:
    """The SHA-256 of what is timed: other weights say more words, or fewer."""
    return file_sha256(resolve(MODEL)[1])


def facts() -> list[Row]:
    """A row per batch size."""
    pictures = [image for image, _ in load_set("evaluation", PICTURES)]
    rows = measure(load(MODEL), pictures, SIZES, ROUNDS)
    return [
        {
            "name": "one by one" if row["batch"] == "single" else f"batches of {row['batch']}",
            "pictures/s": round(row["pictures_per_s"], 2),
            "× one by one": round(row["ratio"], 2),
            "least": round(row["ratio_least"], 2),
            "most": round(row["ratio_most"], 2),
        }
        for row in rows
    ]


ABLATION = Ablation(
    name="batches",
    claim="Captioning in batches is faster than one picture at a time.",
    rule="The same shipped pictures and weights, preprocessing included, in turns.",
    facts=facts,
    facts_of=timed_weights,
    facts_said=f"PyTorch on one thread, {PICTURES} pictures, median of {ROUNDS} rounds after one "
    "of warming up.",
    drawn=("× one by one",),
)
