"""The cost of adding a language: `python -m edgecap.benchmarks.reference.new_language nl ko`.

Stages, each continuing from the one before; the eight languages are rehearsed in each:

    untrained   the language's token is the mean of the others' tokens
    texts       contrastive loss of texts in the language; no captions
    one thing   captions of images that show one thing
    captions    captions of images that show one to five things

After each, on the first test scenes: exact captions, things named, grounding, relations and
retrieval in the language, and the exact captions of the eight known ones. The
stages show whether captions emerge before any caption is trained.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecap.benchmarks.machine import machine
from edgecap.benchmarks.reference.evaluate import evaluate
from edgecap.benchmarks.reference.options import percent
from edgecap.benchmarks.reference.sets import evaluation_scenes
from edgecap.benchmarks.reference.similarity import Scened
from edgecap.core.atomic import atomic_dir
from edgecap.core.choices import pick
from edgecap.core.command import check_numbers, run_command
from edgecap.core.errors import InputError
from edgecap.core.figures import save_figure
from edgecap.core.lazy import require
from edgecap.reference.scenes.dataset import caption_rows
from edgecap.reference.scenes.grammar import HELD_OUT
from edgecap.reference.scenes.graph import Scene
from edgecap.reference.scenes.render import render
from edgecap.reference.scenes.sample import SceneRules, sample_drawing

if TYPE_CHECKING:
    from edgecap.reference.train.captions import CaptionDataset, SampleEncoder

KEYS = ("exact", "name", "grounding_50", "relation", "retrieval_r1_i2t", "retrieval_r1_t2i")
STAGES = ("untrained", "texts", "one thing", "captions")
REPORT = "new_language.json"
_STREAM = 17  # of scenes: no split draws from it
_ONE_THING = SceneRules(things=(1, 1), repeat=0.0)


@dataclass(frozen=True)
class Budget:
    """The training budget; by default an hour for two languages on one core."""

    captions: int = 500  # per stage
    row_steps: int = 250  # per stage, first, on the rows of new tokens only
    steps: int = 120  # per stage, on all weights
    images: int = 10  # per step
    scenes: int = 48  # measured on
    lora: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """Figures after one stage."""

    lang: str
    stage: str
    figures: dict[str, Any]  # of KEYS, in the language
    known: dict[str, float]  # exact captions, in each language known before
    minutes: float  # of the stage, measuring included


def check(model: str, lang: str, budget: Budget) -> None:
    """InputError for a language without a grammar or that the weights have already.

    Also for weights with a language that cannot be rehearsed, and for a rank that is not below
    their width.
    """
    from edgecap.reference.model import weights
    from edgecap.reference.train import forgetting, lora, rehearsal

    forgetting.check_number(budget.scenes)
    pick("language", lang, HELD_OUT)
    path = weights.resolve(model)[1]
    known = weights.extension(path).languages
    if lang in known:
        raise InputError("language.known", f"{path} has {lang} already.")
    rehearsal.choose("scenes", known)
    if budget.lora:
        lora.check_rank(weights.load(path), budget.lora)


def drawn(rules: SceneRules, n: int, seed: int) -> Iterator[Scened]:
    """n scenes by `rules` that are in no split."""
    for i in range(n):
        drawing = sample_drawing(np.random.default_rng((_STREAM, seed, i)), rules)
        yield render(drawing), drawing.scene


def stages(
    model: str, lang: str, budget: Budget, notify: Callable[[str], None] = lambda _: None
) -> Iterator[Measured]:
    """Train `lang` stage by stage; yields the figures after each.

    Raises the InputError of `check`.
    """
    from edgecap.reference.model import weights
    from edgecap.reference.shipped import tokenizer_data
    from edgecap.reference.train import extend_vocabulary, forgetting, rehearsal
    from edgecap.reference.train.captions import SampleEncoder
    from edgecap.reference.train.finetune import FinetuneConfig, finetune_steps
    from edgecap.reference.train.finetune_job import captioner_of
    from edgecap.runtime.tokenizer import Tokenizer

    check(model, lang, budget)
    path = weights.resolve(model)[1]
    network, before = weights.load(path), weights.extension(path)
    one, many = (
        list(drawn(rules, budget.captions, budget.seed + i))
        for i, rules in enumerate((_ONE_THING, SceneRules()))
    )
    rows = {name: list(_rows(lang, scenes)) for name, scenes in (("one", one), ("many", many))}
    # The tokenizer is extended with all texts before any training: texts need no images.
    after = extend_vocabulary.extend(
        before, lang, [row["text"] for kind in rows.values() for row in kind]
    )
    network = extend_vocabulary.resize_embeddings(network, before, after)
    encoder = SampleEncoder(
        Tokenizer(tokenizer_data(after)), after, lang, network.config.text_length
    )
    datasets = {
        "texts": (_dataset(encoder, many, rows["many"]), 0.0),
        "one thing": (_dataset(encoder, one, rows["one"]), 1.0),
        "captions": (_dataset(encoder, many, rows["many"]), 1.0),
    }
    tested = evaluation_scenes("test", budget.scenes)
    base = FinetuneConfig(
        steps=budget.steps,
        row_steps=budget.row_steps,
        images=budget.images,
        lora=budget.lora,
        seed=budget.seed,
    )
    for number, stage in enumerate(STAGES):
        begun = time.monotonic()
        notify(f"{lang}: {stage}")
        if stage in datasets:
            dataset, weight = datasets[stage]
            config = replace(base, caption_weight=weight, seed=budget.seed + number)
            old = rehearsal.of_scenes(
                before.languages, after, config.rehearsed, config.seed, config.steps
            )
            finetune_steps(network, dataset, old, config, extend_vocabulary.new_rows(before, after))
        captioner = captioner_of(network.eval(), after)
        figures = evaluate(captioner, tested, (lang,)).languages[lang]
        exact = forgetting.exact(captioner, before.languages, budget.scenes).mean(1)  # [K]
        known = dict(zip(before.languages, exact.tolist(), strict=True))
        minutes = (time.monotonic() - begun) / 60
        yield Measured(lang, stage, {key: figures[key] for key in KEYS}, known, minutes)


def _rows(lang: str, scenes: Sequence[tuple[np.ndarray, Scene]]) -> Iterator[dict[str, str]]:
    for i, (_, scene) in enumerate(scenes):
        yield from caption_rows(str(i), scene, "train", i, languages=(lang,))


def _dataset(
    encoder: SampleEncoder, scenes: Sequence[Scened], rows: Sequence[dict[str, str]]
) -> CaptionDataset:
    """Scenes and their captions, with and without boxes, as training data."""
    from edgecap.apps.pairs import Pair
    from edgecap.reference.train.captions import CaptionDataset
    from edgecap.runtime.preprocess import letterbox

    samples = tuple(
        encoder.encode(
            Pair(Path(row["image"]), row["text"], grounded=row["grounded"]),
            letterbox(scene.size, scene.size, scene.size),
        )
        for (_, scene), row in zip(scenes, rows, strict=True)
    )
    return CaptionDataset(np.stack([pixels for pixels, _ in scenes]), samples)


def table(rows: Sequence[Measured]) -> str:
    """Markdown, shares in percent; the last column is the mean of the known languages."""
    lines = [
        "| language | after | " + " | ".join(KEYS) + " | known languages, exact |",
        "| --- | --- | " + " | ".join("---:" for _ in KEYS) + " | ---: |",
    ]
    for row in rows:
        values = " | ".join(percent(row.figures[key]) for key in KEYS)
        known = percent(float(np.mean(list(row.known.values()))))
        lines.append(f"| {row.lang} | {row.stage} | {values} | {known} |")
    return "\n".join(lines)


def plot(rows: Sequence[Measured], out: Path) -> None:
    """A panel per language: figures after each stage, known languages dashed."""
    from matplotlib.figure import Figure

    languages = list(dict.fromkeys(row.lang for row in rows))
    figure = Figure(figsize=(4.2 * len(languages) + 1.8, 3.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(languages), sharey=True))
    for lang, axes in zip(languages, panels, strict=True):
        own = [row for row in rows if row.lang == lang]
        names = [row.stage for row in own]
        for key in KEYS:
            values = [100 * (row.figures[key] or 0.0) for row in own]
            axes.plot(names, values, marker="o", markersize=3, label=key.replace("_", " "))
        known = [100 * float(np.mean(list(row.known.values()))) for row in own]
        axes.plot(names, known, "k--", linewidth=1, label="known languages, exact")
        axes.set_title(lang)
        axes.set_ylim(0, 101)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("%")
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8)
    save_figure(figure, out)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: a table, and a directory with it, a plot and the figures; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m edgecap.benchmarks.reference.new_language")
    parser.add_argument("languages", nargs="+", help=" or ".join(HELD_OUT))
    parser.add_argument("--model", default="S")
    parser.add_argument("--out", type=Path, default=Path("new_language"))
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    for name, value in asdict(Budget()).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args(arguments)
    return run_command("new_language", lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    values = vars(args)
    least = {name: 0 for name in ("row_steps", "lora", "seed")}
    least |= {"captions": 1, "steps": 1, "images": 2, "scenes": 2}
    check_numbers(args, "new_language", threads=1, **least)
    require("matplotlib", "train")
    torch = require("torch", "train")
    torch.set_num_threads(values["threads"])
    budget = Budget(**{name: values[name] for name in asdict(Budget())})
    languages = tuple(dict.fromkeys(values["languages"]))
    for lang in languages:
        check(values["model"], lang, budget)
    with atomic_dir(values["out"], values["overwrite"], marker=REPORT) as folder:
        rows = []
        for lang in languages:
            for row in stages(values["model"], lang, budget, lambda text: print(text, flush=True)):
                rows.append(row)
                print(table([row]).splitlines()[-1], f"{row.minutes:.1f} min", flush=True)
        report = {
            "model": values["model"],
            "budget": asdict(budget),
            "rows": [asdict(row) for row in rows],
            "machine": machine(),
        }
        (folder / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (folder / "new_language.md").write_text(table(rows) + "\n", encoding="utf-8")
        plot(rows, folder / "new_language.png")
    print(table(rows))


if __name__ == "__main__":
    sys.exit(main())
