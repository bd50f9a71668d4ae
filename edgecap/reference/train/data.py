"""Batches of drawn scenes, each determined by the run's seed and the step.

Because step k always draws the same batch, a resumed run sees exactly the stream that an
uninterrupted one would have seen. Letters as in batch.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch.utils.data import Dataset

from edgecap.core.lazy import require
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.scenes.describe import statement
from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.graph import Scene, Statement, Thing
from edgecap.reference.scenes.render import render
from edgecap.reference.scenes.sample import WINDOW_RULES, Drawing, SceneRules, sample_drawing
from edgecap.reference.scenes.splits import SPLITS
from edgecap.reference.shipped import tokenizer_data
from edgecap.reference.tokens import EOS_ID, ID, TEXT_ID
from edgecap.reference.train.batch import Batch
from edgecap.reference.train.claims import claims_of, matches, separating_question, true_and_false
from edgecap.reference.train.config import Stage, TrainConfig
from edgecap.reference.train.hints import patch_hints, question, thing_positions
from edgecap.reference.train.packing import (
    CaptionTokens,
    common_prefix,
    end_of_boxes,
    lengths,
    pack,
    pad,
)
from edgecap.reference.train.prefix_corruption import corrupt_prefix, weight

PATCH = CaptionerConfig.patch_size


class SceneBatches(Dataset[Batch]):
    """Batch `step` of a run; `rank` of `world` processes get different scenes.

    `model_input`: side of the model input on which windows lie, px. `rules`: scene rules by window
    size.
    """

    def __init__(
        self,
        config: TrainConfig,
        rank: int = 0,
        world: int = 1,
        model_input: int = CaptionerConfig.image_size,
        rules: Mapping[int, SceneRules] = WINDOW_RULES,
    ) -> None:
        self.config, self.rank, self.world = config, rank, world
        self.model_input, self.rules = model_input, rules
        self._styles = tuple(config.styles)
        shares = np.array([config.styles[style] for style in self._styles])  # [styles]
        self._shares = shares / shares.sum()

    def __len__(self) -> int:
        return self.config.steps

    @cached_property
    def encoder(self):  # type: ignore[no-untyped-def]  # tokenizers is imported in the worker
        tokenizers = require("tokenizers", "train")
        return tokenizers.Tokenizer.from_str(tokenizer_data(self.config.extension).decode())

    def __getitem__(self, step: int) -> Batch:
        stage = self.config.stage(step)
        stream = SPLITS["train"].stream
        rng = np.random.default_rng((stream, self.config.seed, step * self.world + self.rank))
        free = (self.model_input - stage.window) // PATCH + 1  # positions of a window
        corners = rng.integers(0, free, (stage.batch, 2))  # [B,2], row and column
        images, scenes, hints = [], [], []
        for row, column in corners.tolist():
            origin = (column * PATCH, row * PATCH)
            drawing = self._drawing(stage, origin, rng)
            images.append(render(drawing))
            scenes.append(shift(drawing.scene, origin))
            hints.append(patch_hints(drawing.scene, origin))
        rows = [pack(self._captions(s, stage.languages, rng), stage.caption_tokens) for s in scenes]
        tokens, targets, segments, positions = map(torch.from_numpy, np.stack(rows, 1))  # [B,T]
        described = scenes[:: stage.batch // stage.texts]  # Q
        statements = [true_and_false(scene, rng) for scene in described]  # Q
        texts = [ids for pair in statements for ids in self._texts(pair, stage.languages, rng)]  # R
        pairs = [pair for scene in described for pair in claims_of(scene, stage, rng)]  # C
        claims = [ids for pair in pairs for ids in self._texts(pair, stage.languages, rng)]  # 2C
        return Batch(
            images=torch.from_numpy(np.stack(images)),
            corners=torch.from_numpy(corners),
            tokens=tokens,
            targets=targets,
            segments=segments,
            positions=positions,
            texts=pad(texts, stage.text_tokens),
            lengths=lengths(texts, stage.text_tokens),
            matches=matches(described, [one for pair in statements for one in pair]),
            claims=pad(claims, stage.claim_tokens),
            claim_lengths=lengths(claims, stage.claim_tokens),
            text_questions=torch.tensor([separating_question(*pair) for pair in statements]),
            questions=torch.tensor([question(true.relation) for true, _ in pairs]).view(-1, 4),
            thing_positions=torch.from_numpy(
                np.stack([thing_positions(scene) for scene in described])
            ),
            hints=torch.from_numpy(np.stack(hints)),
        )

    def _drawing(self, stage: Stage, origin: tuple[int, int], rng: np.random.Generator) -> Drawing:
        rules = self.rules[stage.window]
        if stage.namesakes and rng.random() < stage.namesakes:
            rules = among_others(rules)
        return sample_drawing(rng, rules, origin)

    def _captions(
        self, scene: Scene, languages: tuple[str, ...], rng: np.random.Generator
    ) -> Iterator[CaptionTokens]:
        while True:
            language = languages[rng.integers(len(languages))]
            yield self._caption(scene, language, rng)

    def _caption(self, scene: Scene, language: str, rng: np.random.Generator) -> CaptionTokens:
        style = self._styles[rng.choice(len(self._styles), p=self._shares)]
        grammar = for_language(language)
        true = statement(scene, rng, style)
        goes_on = style == "grounded" and true.relation is not None
        corrupted = goes_on and rng.random() < self.config.slips * weight(true.mentions)
        written = replace(true, mentions=corrupt_prefix(true.mentions, rng)) if corrupted else true
        first = rng.random() < self.config.first_phrasing
        template = 0 if first else int(rng.integers(grammar.templates))
        boxes = style in ("grounded", "color", "shape")

        def ids_of(one: Statement) -> list[int]:
            words = self.caption_ids(grammar.render(one, template, grounded=boxes), one)
            return [ID[f"<{language}>"], ID[f"<{style}>"], *words, EOS_ID]

        ids = ids_of(written)
        if not corrupted:
            return CaptionTokens(ids)
        slip = common_prefix(ids, ids_of(true))  # after the last box if the list ends too early
        return CaptionTokens(ids, slice(slip, max(end_of_boxes(ids), slip + 1)))

    def caption_ids(self, text: str, statement: Statement) -> list[int]:
        """The tokens of a caption's text, which renders `statement`."""
        return self.encoder.encode(" " + text).ids

    def _texts(
        self, pair: tuple[Statement, ...], languages: tuple[str, ...], rng: np.random.Generator
    ) -> Iterator[list[int]]:
        """Texts of each of `pair` in the same phrasing, so that they differ only in content."""
        grammar = for_language(languages[rng.integers(len(languages))])
        template = int(rng.integers(grammar.templates))
        typed = rng.random() < 0.25  # the style of search queries
        for one in pair:
            text = grammar.render(one, template)
            text = text.lower().rstrip(".。") if typed else text
            yield [TEXT_ID, *self.encoder.encode(" " + text).ids, EOS_ID]


def among_others(rules: SceneRules) -> SceneRules:
    """The rules with many things, two or more of one name, all counts equally likely."""
    most = rules.things[1]
    return replace(rules, things=(most - 1, most), copies=(2, most), repeat=1.0)


def shift(scene: Scene, origin: tuple[int, int]) -> Scene:
    """A window's scene in px of the whole model_input; `origin` is the window's corner (x, y)."""
    x, y = origin
    moved = (
        Thing(t.name, (t.box[0] + x, t.box[1] + y, t.box[2] + x, t.box[3] + y))
        for t in scene.things
    )
    return replace(scene, things=tuple(moved))
