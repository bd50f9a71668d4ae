"""Batches of drawn scenes, each a function of the run's seed and the step alone.

    B images a batch   S window side, px   P patches   T tokens of packed captions
    Q images with texts   R = 2Q texts   Tq tokens of a text   C claims   Tc tokens of a claim
    K things of a scene at most

Because step k always draws the same batch, a resumed run sees exactly the stream that an
uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from edgecap.core.config import CaptionerConfig
from edgecap.core.lazy import require
from edgecap.core.tokens import EOS_ID, ID, LOCATION_IDS, PAD_ID, TEXT_ID
from edgecap.runtime.loading import tokenizer_data
from edgecap.scenes.describe import statement
from edgecap.scenes.grammar import for_language
from edgecap.scenes.graph import Name, Scene, Statement, Thing
from edgecap.scenes.render import render
from edgecap.scenes.sample import WINDOW_RULES, Drawing, SceneRules, sample_drawing
from edgecap.scenes.splits import SPLITS
from edgecap.scenes.twins import (
    inverted_relation,
    names_in,
    names_of,
    no_part,
    part,
    relation_holds,
    twins,
)
from edgecap.train.config import Stage, TrainConfig
from edgecap.train.hints import patch_hints, question, seen_things
from edgecap.train.slips import slipped, weight

PATCH = CaptionerConfig.patch_size


@dataclass(frozen=True)
class Batch:
    """One step's data."""

    images: Tensor  # uint8 [B,S,S,3]
    corners: Tensor  # int64 [B,2], row and column of the window's first patch
    tokens: Tensor  # int64 [B,T], captions one after another, padded with PAD_ID
    targets: Tensor  # int64 [B,T], the token after each; PAD_ID where none is asked
    segments: Tensor  # int64 [B,T], which of the row's captions a token is of
    positions: Tensor  # int64 [B,T], its place in that caption
    texts: Tensor  # int64 [R,Tq], of every (B/Q)-th image two: a true one, then its false twin
    lengths: Tensor  # int64 [R]
    matches: Tensor  # bool [Q,R], which text says what which picture shows
    claims: Tensor  # int64 [2C,Tc], of these images a true claim, then a false one, C/Q of each
    claim_lengths: Tensor  # int64 [2C]
    text_questions: Tensor  # int64 [Q,4], what parts a text from its twin where that is a relation
    questions: Tensor  # int64 [C,4], what each claim asks of a picture: see hints.py
    seen: Tensor  # float32 [Q,K,4], what things they show and where: see hints.py
    hints: Tensor  # int64 [B,P,F], what covers each patch: see hints.py

    def to(self, device: torch.device) -> Batch:
        tensors = (getattr(self, name) for name in self.__dataclass_fields__)
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in tensors))

    def parts(self, count: int) -> list[Batch]:
        """The batch cut into `count` smaller ones; a text keeps the negatives of its part only."""
        rows, columns = (size // count for size in self.matches.shape)
        blocks = [
            self.matches[i * rows : (i + 1) * rows, i * columns : (i + 1) * columns]
            for i in range(count)
        ]
        fields = [
            blocks if name == "matches" else getattr(self, name).chunk(count)
            for name in self.__dataclass_fields__
        ]
        return [Batch(*part) for part in zip(*fields, strict=True)]

    def pin_memory(self) -> Batch:
        """The same in memory that a GPU reads while it computes; DataLoader asks for it."""
        return Batch(*(getattr(self, name).pin_memory() for name in self.__dataclass_fields__))

    @property
    def patches(self) -> int:
        """Patches with a hint."""
        return self.hints.shape[0] * self.hints.shape[1]

    @property
    def words(self) -> int:
        """Tokens to predict."""
        return int((self.targets != PAD_ID).sum())


class SceneBatches(Dataset[Batch]):
    """Batch `step` of a run; `rank` of `world` processes get different scenes.

    `canvas`: side of the canvas on which windows lie, px. `rules`: of the scenes, by window size.
    """

    def __init__(
        self,
        config: TrainConfig,
        rank: int = 0,
        world: int = 1,
        canvas: int = CaptionerConfig.image_size,
        rules: Mapping[int, SceneRules] = WINDOW_RULES,
    ) -> None:
        self.config, self.rank, self.world = config, rank, world
        self.canvas, self.rules = canvas, rules
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
        free = (self.canvas - stage.window) // PATCH + 1  # places of a window
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
        said = [true_and_false(scene, rng) for scene in described]  # Q
        texts = [ids for pair in said for ids in self._texts(pair, stage.languages, rng)]  # R
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
            matches=matches(described, [one for pair in said for one in pair]),
            claims=pad(claims, stage.claim_tokens),
            claim_lengths=lengths(claims, stage.claim_tokens),
            text_questions=torch.tensor([parting(*pair) for pair in said]),
            questions=torch.tensor([question(true.relation) for true, _ in pairs]).view(-1, 4),
            seen=torch.from_numpy(np.stack([seen_things(scene) for scene in described])),
            hints=torch.from_numpy(np.stack(hints)),
        )

    def _drawing(self, stage: Stage, origin: tuple[int, int], rng: np.random.Generator) -> Drawing:
        rules = self.rules[stage.window]
        if stage.namesakes and rng.random() < stage.namesakes:
            rules = among_others(rules)
        return sample_drawing(rng, rules, origin)

    def _captions(
        self, scene: Scene, languages: tuple[str, ...], rng: np.random.Generator
    ) -> Iterator[Asked]:
        while True:
            language = languages[rng.integers(len(languages))]
            yield self._caption(scene, language, rng)

    def _caption(self, scene: Scene, language: str, rng: np.random.Generator) -> Asked:
        style = self._styles[rng.choice(len(self._styles), p=self._shares)]
        grammar = for_language(language)
        said = statement(scene, rng, style)
        goes_on = style == "grounded" and said.relation is not None
        slips = goes_on and rng.random() < self.config.slips * weight(said.mentions)
        told = replace(said, mentions=slipped(said.mentions, rng)) if slips else said
        first = rng.random() < self.config.first_phrasing
        template = 0 if first else int(rng.integers(grammar.templates))
        boxes = style in ("grounded", "color", "shape")

        def ids_of(one: Statement) -> list[int]:
            words = self.caption_ids(grammar.render(one, template, grounded=boxes), one)
            return [ID[f"<{language}>"], ID[f"<{style}>"], *words, EOS_ID]

        ids = ids_of(told)
        if not slips:
            return Asked(ids)
        slip = parted(ids, ids_of(said))  # of a list that ends too early: behind its last box
        return Asked(ids, slice(slip, max(end_of_boxes(ids), slip + 1)))

    def caption_ids(self, text: str, said: Statement) -> list[int]:
        """The tokens of a caption's text, which says `said`."""
        return self.encoder.encode(" " + text).ids

    def _texts(
        self, pair: tuple[Statement, ...], languages: tuple[str, ...], rng: np.random.Generator
    ) -> Iterator[list[int]]:
        """Texts that say each of `pair`, worded alike: only what is said tells them apart."""
        grammar = for_language(languages[rng.integers(len(languages))])
        template = int(rng.integers(grammar.templates))
        typed = rng.random() < 0.25  # as people type what they search for
        for said in pair:
            text = grammar.render(said, template)
            text = text.lower().rstrip(".。") if typed else text
            yield [TEXT_ID, *self.encoder.encode(" " + text).ids, EOS_ID]


def among_others(rules: SceneRules) -> SceneRules:
    """The same with many things, two or more of one name, every number of them as often."""
    most = rules.things[1]
    return replace(rules, things=(most - 1, most), copies=(2, most), repeat=1.0)


def true_and_false(scene: Scene, rng: np.random.Generator) -> tuple[Statement, Statement]:
    """What the scene's text says, and a false twin of it; twice the truth where it has none."""
    true = statement(scene, rng, "plain")
    false = list(twins(scene, true))
    return true, false[rng.integers(len(false))] if false else true


def matches(scenes: list[Scene], texts: list[Statement]) -> Tensor:
    """Which text is true of which scene, bool [Q,R].

    Only texts that name a scene's things are asked further: a large batch has too many pairs.
    """
    by_names: dict[frozenset[tuple[Name, int]], list[int]] = {}
    for column, text in enumerate(texts):
        by_names.setdefault(frozenset(names_of(text).items()), []).append(column)
    told = torch.zeros(len(scenes), len(texts), dtype=torch.bool)
    for row, scene in enumerate(scenes):
        for column in by_names.get(frozenset(names_in(scene).items()), ()):
            told[row, column] = relation_holds(scene, texts[column])
    return told


def parting(true: Statement, false: Statement) -> list[int]:
    """What a picture must be asked to tell a text from its twin, as of `question`."""
    relation_parts = true.mentions == false.mentions and true != false
    return question(true.relation if relation_parts else None)


def relation_and_inverse(scene: Scene, rng: np.random.Generator) -> tuple[Statement, Statement]:
    """A relation of the scene and its inverse; the same text twice where it has none."""
    true = statement(scene, rng, "relate")
    false = (one for one in inverted_relation(true) if not relation_holds(scene, one))
    return true, next(false, true)


def part_and_false(scene: Scene, rng: np.random.Generator) -> tuple[Statement, Statement]:
    """A label that is true of the scene, and a like one that is not.

    The contrastive loss calls a text false that names a part only, or searching would find too
    much; that it is less false than what names nothing of the picture must be said beside it.
    """
    true = part(scene, rng)
    return true, no_part(scene, true, rng)


def claims_of(
    scene: Scene, stage: Stage, rng: np.random.Generator
) -> Iterator[tuple[Statement, Statement]]:
    """A scene's true claims, each with a false one: relations, then labels of parts."""
    for _ in range(stage.claims):
        yield relation_and_inverse(scene, rng)
    for _ in range(stage.parts):
        yield part_and_false(scene, rng)


def shift(scene: Scene, origin: tuple[int, int]) -> Scene:
    """A window's scene in px of the whole canvas; `origin` is the window's corner (x, y)."""
    x, y = origin
    moved = (
        Thing(t.name, (t.box[0] + x, t.box[1] + y, t.box[2] + x, t.box[3] + y))
        for t in scene.things
    )
    return replace(scene, things=tuple(moved))


NOTHING = slice(0, 0)


class Asked(NamedTuple):
    """A caption's tokens, and which of them are given rather than to be predicted."""

    ids: list[int]
    given: slice = NOTHING


def parted(ids: list[int], others: list[int]) -> int:
    """How many tokens two captions have in common at their beginning."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(ids, others, strict=False))
    return sum(1 for _ in same)


def end_of_boxes(ids: list[int]) -> int:
    """How many tokens there are up to the last box and with it; 0 where there is no box."""
    places = (i + 1 for i, token in enumerate(ids) if token in LOCATION_IDS)
    return max(places, default=0)


def pack(captions: Iterator[Asked], length: int) -> np.ndarray:
    """int64 [4,length]: tokens, targets, segments and positions of captions laid end to end.

    Takes captions until one does not fit; a first one that is too long is cut.
    """
    row = np.full((4, length), PAD_ID)
    row[2:] = 0
    start = 0
    for segment, (whole, given) in enumerate(captions):
        ids = whole[: length + 1] if segment == 0 else whole
        size = len(ids) - 1  # the last token is only a target
        if start + size > length:
            break
        part = slice(start, start + size)
        row[0, part], row[1, part] = ids[:-1], ids[1:]
        row[1, part][max(given.start - 1, 0) : max(given.stop - 1, 0)] = PAD_ID
        row[2, part], row[3, part] = segment + 1, np.arange(size)
        start += size
    return row


def pad(sequences: list[list[int]], length: int) -> Tensor:
    """int64 [N,length]; what is longer is cut."""
    rows = [(ids + [PAD_ID] * length)[:length] for ids in sequences]
    return torch.tensor(rows, dtype=torch.int64).view(len(rows), length)


def lengths(sequences: list[list[int]], most: int) -> Tensor:
    """int64 [N], of what `pad` leaves of them."""
    return torch.tensor([min(len(ids), most) for ids in sequences], dtype=torch.int64)
