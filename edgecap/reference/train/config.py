"""The configuration of a training run: model size, curriculum, optimisers."""

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
# the decoder cannot rely on which shape a colour usually has. It costs nothing, but did not show a
# gain on unseen pairs; more images did (examples/claims/mentions.md). Relations are learned last
# and slowest, so two in five of all captions contain only a relation
# (benchmarks/LOG.md).
STYLE_WEIGHTS = {"grounded": 0.42, "color": 0.07, "shape": 0.07, "plain": 0.06, "relate": 0.38}


@dataclass(frozen=True)
class Stage:
    """A stage of the curriculum: scenes of one window size."""

    window: int  # px, side of the scenes; below 224, a window anywhere on the model input
    images: int  # scenes drawn in this stage
    batch: int  # B, images per step
    # T, tokens into which each image's captions are packed, as many as fit, each in a random style
    # and language. One shape per stage, because every new shape costs a compilation.
    caption_tokens: int
    texts: int  # Q, images with texts for the contrastive loss; divides the batch
    text_tokens: int  # length of those texts
    languages: tuple[str, ...] = LANGUAGES
    namesakes: float = 0.0  # share of scenes with several things of one name among others
    claims: int = 2  # relations per such image, each contrasted with its inverse
    parts: int = 0  # partial labels per such image, each contrasted with a similar false one
    claim_tokens: int = 24  # length of the texts of claims and parts

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
    """A run; it is fully reproducible from this."""

    size: str = "S"
    stages: tuple[Stage, ...] = (
        # First one language, then all. Small windows train every position at a third of the cost.
        # Relations are learned in full scenes and in two languages, one of each word order, and
        # then transfer to the others (benchmarks/LOG.md). Several things of one name are rare in
        # random scenes and cause most errors, hence `namesakes`.
        Stage(112, 48_000, 64, 40, 16, 32, ("en",)),
        Stage(112, 120_000, 64, 64, 16, 32, namesakes=0.3),
        Stage(224, 20_000, 32, 192, 16, 40, ("en", "ja"), namesakes=0.4),
        Stage(224, 100_000, 32, 160, 16, 40, namesakes=0.4, claims=4, parts=1),
    )
    seed: int = 0
    # Share of captions in each style, and share that uses the first phrasing of its language:
    # equally likely phrasings would be ties, which quantisation breaks at random.
    styles: Mapping[str, float] = field(default_factory=STYLE_WEIGHTS.copy)
    first_phrasing: float = 0.7
    slips: float = 0.4  # probability of a corrupted prefix in lists with a group; less in others
    muon_rate: float = 2e-3  # block matrices (Muon, scaled to AdamW's update size); 0: use AdamW
    adamw_rate: float = 1e-3  # everything else
    weight_decay: float = 0.05
    warmup_steps: int = 100
    decay_share: float = 0.4  # last part of the run, with linear decay to 2 % of the rate
    box_weight: float = 1.0  # of a location token, relative to 1 for a word; 40 % of tokens
    relation_loss_weight: float = 0.4  # of the tokens after a caption's last box: its relation
    contrast_weight: float = 0.2
    twin_weight: float = 0.5  # of texts and relations against their hard negatives
    place_weight: float = 1.5  # of positions predicted from the image embedding
    question_weight: float = 0.3  # of aligning a claim's embedding with its question (hints.py)
    hint_weight: float = 1.0
    clip: float = 1.0  # gradient norm
    mean_steps: int = 200  # of the running mean of weights, the result; 0: the last weights
    extension: Extension = Extension()  # languages and tokens beyond the shipped ones

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
        """The stage of `step` (from 0)."""
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
        """The same run with `images` scenes in total, in the same proportions.

        Raises InputError where a stage would have no step.
        """
        run = self._shared(images)
        if not run._every_stage_has_steps:
            least = next(n for n in count(images + 1) if self._shared(n)._every_stage_has_steps)
            raise InputError(
                "train.images",
                f"{images} scenes leave a stage of the run without a step; give at least {least}.",
            )
        return run

    def _shared(self, images: int) -> TrainConfig:
        total = sum(stage.images for stage in self.stages)
        stages = tuple(replace(s, images=round(s.images * images / total)) for s in self.stages)
        return replace(self, stages=stages)

    @property
    def _every_stage_has_steps(self) -> bool:
        return all(stage.steps for stage in self.stages)

    def with_languages(self, extension: Extension) -> TrainConfig:
        """The same run for weights with `extension`.

        Stages in all shipped languages use its languages instead, as far as they have a grammar.
        """
        languages = tuple(
            language for language in extension.languages if language in GRAMMAR_LANGUAGES
        )
        stages = tuple(
            replace(stage, languages=languages) if stage.languages == LANGUAGES else stage
            for stage in self.stages
        )
        return replace(self, stages=stages, extension=extension)

    @property
    def shape(self) -> CaptionerConfig:
        """The network's configuration, with a row for every token of the weights."""
        size = SIZES[self.size]
        return replace(size, vocabulary=size.vocabulary + len(self.extension.tokens))

    @property
    def untrained_languages(self) -> tuple[str, ...]:
        """Languages of the weights that no stage trains."""
        trained = {language for stage in self.stages for language in stage.languages}
        return tuple(one for one in self.extension.languages if one not in trained)

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        if self.extension == Extension():  # the format from before extensions
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
        # Fields that older runs do not have, and one that was renamed.
        if "told_weight" in data:
            data = {**data, "relation_loss_weight": data["told_weight"]}
            del data["told_weight"]
        older = {"question_weight": 0.0, "relation_loss_weight": 0.0, "slips": 0.0, "mean_steps": 0}
        return cls(**{**older, **data, "stages": stages, "extension": extension})
