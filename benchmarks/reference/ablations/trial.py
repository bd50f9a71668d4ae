"""One trial: an arm trained with one seed, and what it then can do.

S model_input side   T tokens   Q texts   E embedding

The metrics are those of `benchmarks.evaluate` in English on scenes of the split "val" in
the small world that the runs see, with the model's boxes as it writes them, and:

    loss        nats a token of captions of unseen scenes; comparable where captions are tokenised
                alike
    pair_named  things of a colour and shape that never met in training, named; share
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from edgecap.benchmarks.reference.ablations.experiment import Arm, Row
from edgecap.benchmarks.reference.evaluate import evaluate
from edgecap.benchmarks.reference.metrics import score_captions
from edgecap.benchmarks.reference.similarity import Scened
from edgecap.bundle.schema1 import FUNCTIONS, identity_names
from edgecap.core.progress import progress
from edgecap.reference.manifest import build_manifest
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.model.session import TorchSession
from edgecap.reference.scenes.graph import Scene
from edgecap.reference.scenes.render import render
from edgecap.reference.scenes.sample import sample_drawing
from edgecap.reference.scenes.splits import generator
from edgecap.reference.scenes.withheld import PAIRS
from edgecap.reference.shipped import shipped_tokenizer
from edgecap.reference.tokens import PAD_ID
from edgecap.reference.train.config import TrainConfig
from edgecap.reference.train.loop import learn
from edgecap.reference.train.losses import Objective
from edgecap.reference.train.optimisers import Optimisers
from edgecap.runtime.loading import captioner_of

LANGUAGE, STYLE = "en", "grounded"
UNSEEN_SEED = 2**31  # of the scenes on which the loss is measured
UNSEEN_BATCHES = 8
EVALUATED = 32  # images in one call


def run(arm: Arm, seed: int, images: int, scenes: int) -> Row:
    """Train and evaluate, on one thread whatever the machine has, so that it decides nothing."""
    with one_thread():
        # Of the processor: on one thread it is the time a quiet machine takes, on a busy one too.
        begun = time.process_time()
        recipe = arm.recipe(seed, images)
        objective = train(arm, recipe, seed)
        trained = time.process_time()
        metrics = measure(arm, objective, recipe, scenes)
    return {
        "arm": arm.name,
        "seed": seed,
        "images": sum(stage.steps * stage.batch for stage in recipe.stages),
        "parameters": sum(p.numel() for p in objective.captioner.parameters()),
        "train_s": round(trained - begun, 1),
        "evaluate_s": round(time.process_time() - trained, 1),
        "metrics": metrics,
    }


def train(arm: Arm, recipe: TrainConfig, seed: int) -> Objective:
    """The captioner of an arm after its whole run, with its losses."""
    torch.manual_seed(seed)
    captioner = arm.build(arm.config)
    torch.manual_seed(seed)  # the hints of all arms begin alike, however many numbers they drew
    objective = Objective(captioner)
    optimisers = Optimisers(objective, recipe)
    batches = arm.batches(recipe, model_input=arm.config.image_size, rules=arm.world)
    for step in progress(range(recipe.steps), f"{arm.name}, seed {seed}"):
        batch = batches[step]
        learn(objective, batch, 1, objective.terms(batch, recipe))
        nn.utils.clip_grad_norm_(objective.parameters(), recipe.clip)
        optimisers.step(step)
    return objective


def measure(
    arm: Arm, objective: Objective, recipe: TrainConfig, scenes: int
) -> dict[str, float | int | None]:
    """The metrics above."""
    speaker = Speaker(objective.captioner, arm.as_edges)
    report = evaluate(speaker, drawn(arm, "val", scenes), [LANGUAGE], EVALUATED)
    return {
        **report.values,
        "loss": unseen_loss(arm, objective, recipe),
        "pair_named": pair_named(speaker, drawn(arm, "pairs", scenes, shows="pair")),
    }


def drawn(arm: Arm, split: str, n: int, shows: str = "") -> list[Scened]:
    """The first n scenes of a split on the arm's model_input."""
    rules = replace(arm.world[arm.config.image_size], shows=shows)
    drawings = (sample_drawing(generator(split, i), rules) for i in range(n))
    return [(render(drawing), drawing.scene) for drawing in drawings]


def pair_named(speaker: Speaker, scenes: Sequence[Scened]) -> float | int | None:
    """The share of withheld pairs that are named, whatever else the caption contains."""
    captions = [
        caption.raw
        for i in range(0, len(scenes), EVALUATED)
        for caption in speaker.caption([image for image, _ in scenes[i : i + EVALUATED]], LANGUAGE)
    ]
    pairs = [
        Scene(tuple(t for t in scene.things if (t.name.color, t.name.noun) in PAIRS), scene.size)
        for _, scene in scenes
    ]
    return score_captions(list(zip(pairs, captions, strict=True)), LANGUAGE)["name"]


@torch.inference_mode()
def unseen_loss(arm: Arm, objective: Objective, recipe: TrainConfig) -> float:
    """Nats a token, on scenes like those of the last steps."""
    unseen = replace(recipe, seed=UNSEEN_SEED)
    batches = arm.batches(unseen, model_input=arm.config.image_size, rules=arm.world)
    loss = words = 0.0
    for step in range(max(0, recipe.steps - UNSEEN_BATCHES), recipe.steps):
        batch = batches[step]
        sums = dict(zip(objective.terms(batch, recipe), objective(batch), strict=True))
        loss += (sums["caption"] + sums["box"]).item()
        words += int((batch.targets != PAD_ID).sum())
    return loss / words


@dataclass(frozen=True)
class CaptionDataset:
    """A caption with its location tokens still in it."""

    raw: str


class Speaker:
    """A newly trained model as a subject of `evaluate`, without constrained decoding."""

    def __init__(
        self, captioner: CaptionModel, as_edges: Callable[[Sequence[int]], list[int]] = list
    ) -> None:
        functions = {name: identity_names("", name) for name in FUNCTIONS}
        manifest = build_manifest(
            captioner.config,
            name="ablation",
            model="ablation",
            format="torch",
            precision="fp32",
            functions=functions,
        )
        self._as_edges, self._tokenizer = as_edges, shipped_tokenizer()
        self._captioner = captioner_of(
            TorchSession(captioner), manifest, self._tokenizer, "torch", most=256
        )

    def caption(self, images: Sequence[np.ndarray], lang: str) -> list[CaptionDataset]:
        """Greedy captions with boxes of images uint8 [S,S,3]."""
        captions = self._captioner.caption(images, lang, style=STYLE, constrained=False)
        return [
            CaptionDataset(self._tokenizer.decode(self._as_edges(one.tokens))) for one in captions
        ]

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Float [N,E] of images uint8 [S,S,3]."""
        return self._captioner.embed_images(images)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Float [Q,E]."""
        return self._captioner.embed_texts(texts)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order: PyTorch on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
