"""What an ablation is: arms that differ in one thing, trained alike, compared seed by seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.scenes.nouns import NOUNS
from edgecap.reference.scenes.sample import WINDOW_RULES, SceneRules
from edgecap.reference.train.config import Stage, TrainConfig
from edgecap.reference.train.data import SceneBatches

Row = dict[str, Any]  # plain JSON values

# Named by one attribute in two of five captions, as in the shipped recipe; no captions of relations
# alone, which a tiny budget does not learn.
STYLES = {"grounded": 0.5, "color": 0.2, "shape": 0.2, "plain": 0.1}

# One or two things, a dozen of the hundred emoji, calm backgrounds: a world of which a tiny budget
# learns enough to compare. Windows and model_input differ in size alone.
WORLD = {
    size: replace(
        rules,
        nouns=tuple(NOUNS)[:12],
        things=(1, 2),
        copies=(2, 2),
        repeat=0.2,
        backgrounds=("plain", "gradient"),
    )
    for size, rules in WINDOW_RULES.items()
}
# One shape in an image: what each colour and each shape looks like is all there is to learn.
SHAPES = {size: replace(rules, nouns=(), things=(1, 1)) for size, rules in WORLD.items()}

# A model_input of one window: a quarter of the cost for what does not depend on the model_input.
SMALL = CaptionerConfig(width=128, layers=6, heads=2, embedding=128, image_size=112, text_length=64)
SMALL_RUN = TrainConfig(
    size="ablation",
    stages=(Stage(112, 16_000, 16, 40, 8, 32, ("en",)),),
    styles=STYLES,
    relation_loss_weight=0.0,  # what is compared is not what relations say
    slips=0.0,
    # Twice the shipped recipe's, after a short warm-up: there are a few hundred steps.
    muon_rate=4e-3,
    adamw_rate=2e-3,
    warmup_steps=40,
)
# The real model_input, for what is about places on it. It learns late, so steps are many and small.
FULL = replace(SMALL, layers=4, image_size=224, text_length=96)
FULL_RUN = replace(SMALL_RUN, stages=(Stage(224, 16_000, 8, 64, 4, 40, ("en",)),))
CURRICULUM_RUN = replace(
    FULL_RUN,
    stages=(
        Stage(112, 13_600, 8, 40, 4, 32, ("en",)),
        Stage(224, 2_400, 8, 64, 4, 40, ("en",)),
    ),
)


@dataclass(frozen=True)
class Arm:
    """One variant of model, data or recipe. Arms travel to other processes: no lambdas."""

    name: str
    config: CaptionerConfig = SMALL
    run: TrainConfig = SMALL_RUN  # seed and number of images are the sweep's
    build: Callable[[CaptionerConfig], CaptionModel] = CaptionModel
    batches: type[SceneBatches] = SceneBatches
    world: Mapping[int, SceneRules] = field(
        default_factory=lambda: WORLD
    )  # by side of the model_input
    # From tokens as generated to those of the shipped tokenizer, boxes as four edges.
    as_edges: Callable[[Sequence[int]], list[int]] = list
    share: float = 1.0  # of the ablation's images

    def recipe(self, seed: int, images: int) -> TrainConfig:
        """The run of a seed, with this arm's share of `images`, shared among its stages."""
        return replace(self.run.scaled(round(self.share * images)), seed=seed)

    def key(self, seed: int, images: int, scenes: int) -> str:
        """Names a run by all that decides its outcome but the code: equal keys, equal figures."""
        facts = {
            "config": self.config.to_dict(),
            "run": self.recipe(seed, images).to_dict(),
            "build": _described(self.build),
            "batches": _described(self.batches),
            "as_edges": _described(self.as_edges),
            "world": {size: asdict(rules) for size, rules in self.world.items()},
            "scenes": scenes,
        }
        text = json.dumps(facts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _described(function: Callable[..., Any]) -> list[Any]:
    """A class, a function, or a partial of one, in words."""
    if isinstance(function, partial):
        return [*_described(function.func), sorted(function.keywords.items())]
    return [function.__module__, function.__qualname__]


@dataclass(frozen=True)
class Budget:
    """How much is spent. `scenes` are evaluated per run; `images` None leaves the ablation's."""

    seeds: int = 3
    images: int | None = None
    scenes: int = 128
    jobs: int = 1  # runs at a time, one thread each


@dataclass(frozen=True)
class Ablation:
    """A claim and how it is tested.

    `arms` are trained and evaluated; `facts` gives rows that need no training (counted, or timed),
    each with a "name" and the same further columns.
    """

    name: str
    claim: str
    rule: str  # what is held equal
    images: int = 0  # of a run, by default
    arms: tuple[Arm, ...] = ()
    keys: tuple[str, ...] = ()  # of the runs' metrics: columns and panels
    contrasts: tuple[tuple[str, str], ...] = ()  # arms: the first minus the second
    facts: Callable[[], list[Row]] | None = None
    facts_about: str = ""  # what the facts are, one sentence
    # What facts depend on besides code and processor, in words: other words, other facts.
    facts_of: Callable[[], str] = str
    drawn: tuple[str, ...] = ()  # columns of the facts that get a panel
