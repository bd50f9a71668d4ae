"""What a training run is: the model's size, the stages of its curriculum, the optimisers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from typing import Any

from edgecap.core.errors import InputError
from edgecap.reference.config import SIZES, CaptionerConfig
from edgecap.reference.extension import Extension
from edgecap.reference.scenes.grammar import GRAMMAR_LANGUAGES
from edgecap.reference.tokens import LANGUAGES, STYLES

# A quarter of the captions with boxes name shapes by one attribute only (mention dropout), so that
# the decoder cannot rely on which shape a colour usually has. It costs nothing; that it makes pairs
# nameable which were never seen did not show, more images did (examples/claims/mentions.md).
# Relations are learnt last and slowest, so two in five of all captions say nothing else
# (benchmarks/LOG.md).
STYLE_WEIGHTS = {"grounded": 0.42, "color": 0.07, "shape": 0.07, "plain": 0.06, "relate": 0.38}


@dataclass(frozen=True)
class Stage:
    """A part of the curriculum: scenes of one window size."""

    window: int  # px, side of the scenes; below 224 they lie anywhere on the model_input
    images: int  # scenes drawn in this stage
    batch: int  # B, images a step
    # T, into which each image's captions are packed, as many as fit, each in a style and a language
    # drawn by lot. One shape a stage, because every new shape costs a compilation.
    caption_tokens: int
    texts: int  # Q, images that also learn to match texts; divides the batch
    text_tokens: int  # length of those texts
    languages: tuple[str, ...] = LANGUAGES
    namesakes: float = 0.0  # share of scenes in which some of a kind stand among others
    claims: int = 2  # relations of such an image, each to be told from its inverse by embedding
    parts: int = 0  # labels of it that name a part, each to be told from a false one alike
    claim_tokens: int = 24  # length of the texts of both

    def __post_init__(self) -> None:
        if self.batch % self.texts:
            raise InputError(
                "train.stage", f"texts {self.texts} must divide the batch, {self.batch}."
            )

    @property
    def steps(self) -> int:
        return self.images // self.batch


@dataclass(frozen=True)
class TrainConfig:
    """A run, reproducible from this and nothing else."""

    size: str = "S"
    stages: tuple[Stage, ...] = (
        # One language until it sees, then all: a quarter of the patches trains every position at
        # a third of the cost. Relations form in full scenes and in few languages, one of each
        # word order; the others then take them over (tried: benchmarks/LOG.md). Two of a kind among
        # others are rare where they are drawn by lot, and what is untrue is mostly said of them.
        Stage(112, 48_000, 64, 40, 16, 32, ("en",)),
        Stage(112, 120_000, 64, 64, 16, 32, namesakes=0.3),
        Stage(224, 20_000, 32, 192, 16, 40, ("en", "ja"), namesakes=0.4),
        Stage(224, 100_000, 32, 160, 16, 40, namesakes=0.4, claims=4, parts=1),
    )
    seed: int = 0
    # Share of the captions in each style, and share that takes the first phrasing of its language
    # without drawing: equally likely phrasings would be ties, which rounding breaks at random.
    styles: Mapping[str, float] = field(default_factory=STYLE_WEIGHTS.copy)
    first_phrasing: float = 0.7
    slips: float = 0.4  # share of the lists with a group that have one; of others less: slips.py
    muon_rate: float = 2e-3  # block matrices (Muon, scaled to AdamW's update size); 0: AdamW too
    adamw_rate: float = 1e-3  # everything else
    weight_decay: float = 0.05
    warmup_steps: int = 100
    decay_share: float = 0.4  # the last part of the run, linearly to 2 % of the rate
    box_weight: float = 1.0  # of a location token, against a word's 1: they are four in ten tokens
    relation_loss_weight: float = 0.4  # of what follows a caption's last box: its relation
    contrast_weight: float = 0.2
    twin_weight: float = 0.5  # of telling texts and relations from their false hard_negatives
    place_weight: float = 1.5  # of an embedding knowing where things are
    question_weight: float = 0.3  # of a claim's embedding asking for that
    hint_weight: float = 1.0
    clip: float = 1.0  # gradient norm
    mean_steps: int = 200  # that the running mean is over, which the run gives; 0: its last weights
    extension: Extension = Extension()  # what the weights know beyond the shipped languages

    def __post_init__(self) -> None:
        shares = self.styles.values()
        if self.styles.keys() - set(STYLES) or min(shares, default=-1) < 0 or sum(shares) <= 0:
            raise InputError(
                "train.styles",
                f"styles are {dict(self.styles)}; shares of {', '.join(STYLES)} are needed, none "
                "below 0 and not all 0.",
            )

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def stage(self, step: int) -> Stage:
        """The stage that `step` (from 0) belongs to."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        raise IndexError(f"step beyond the last of {self.steps}")

    def rate(self, step: int) -> float:
        """Factor on both learning rates at `step`: warm-up, constant, linear decay."""
        left = (self.steps - step) / max(1, round(self.steps * self.decay_share))
        return min(1.0, (step + 1) / self.warmup_steps, max(0.02, left))

    def scaled(self, images: int) -> TrainConfig:
        """The same run with `images` drawn in all, shared among the stages as before.

        Raises InputError where a stage would have no step: its lesson would be left out unsaid.
        """
        run = self._shared(images)
        if not run._teaches:
            least = next(n for n in count(images + 1) if self._shared(n)._teaches)
            raise InputError(
                "train.images",
                f"{images} scenes leave a stage of the run without a step; at least {least}.",
            )
        return run

    def _shared(self, images: int) -> TrainConfig:
        total = sum(stage.images for stage in self.stages)
        stages = tuple(replace(s, images=round(s.images * images / total)) for s in self.stages)
        return replace(self, stages=stages)

    @property
    def _teaches(self) -> bool:
        return all(stage.steps for stage in self.stages)

    def knowing(self, extension: Extension) -> TrainConfig:
        """The same run for weights that know `extension`.

        Stages in all languages take its languages, those that scenes can be described in.
        """
        spoken = tuple(
            language for language in extension.languages if language in GRAMMAR_LANGUAGES
        )
        stages = tuple(
            replace(stage, languages=spoken) if stage.languages == LANGUAGES else stage
            for stage in self.stages
        )
        return replace(self, stages=stages, extension=extension)

    @property
    def shape(self) -> CaptionerConfig:
        """Of the network: its size, with a row for every token that the weights know."""
        size = SIZES[self.size]
        return replace(size, vocabulary=size.vocabulary + len(self.extension.tokens))

    @property
    def untrained_languages(self) -> tuple[str, ...]:
        """Languages of the weights that no stage speaks."""
        taught = {language for stage in self.stages for language in stage.languages}
        return tuple(one for one in self.extension.languages if one not in taught)

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        if self.extension == Extension():  # as it was written before weights knew more
            del data["extension"]
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrainConfig:
        stages = tuple(
            Stage(**{**stage, "languages": tuple(stage["languages"])}) for stage in data["stages"]
        )
        extension = Extension()
        if "extension" in data:
            extension = Extension.from_json(json.dumps(data["extension"]))
        # Such runs had none of these.
        older = {"question_weight": 0.0, "relation_loss_weight": 0.0, "slips": 0.0, "mean_steps": 0}
        return cls(**{**older, **data, "stages": stages, "extension": extension})
