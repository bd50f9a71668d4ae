"""Batches: what is drawn, said, matched and packed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_train import CONFIG

from edgecap.reference.scenes.describe import statement
from edgecap.reference.scenes.graph import SHAPES, Name, Scene, Thing
from edgecap.reference.scenes.hard_negatives import is_true, names_in
from edgecap.reference.scenes.relations import holds
from edgecap.reference.scenes.render import render
from edgecap.reference.scenes.sample import MOST_ALIKE, WINDOW_RULES, Drawing
from edgecap.reference.scenes.splits import drawing
from edgecap.reference.scenes.withheld import PAIRS
from edgecap.reference.tokens import ID, PAD_ID
from edgecap.reference.train import data
from edgecap.reference.train.claims import (
    matches,
    part_and_false,
    relation_and_inverse,
    true_and_false,
)
from edgecap.reference.train.config import Stage, TrainConfig
from edgecap.reference.train.data import SceneBatches
from edgecap.reference.train.hints import KINDS
from edgecap.reference.train.packing import (
    NOTHING,
    CaptionTokens,
    common_prefix,
    end_of_boxes,
    pack,
)


def test_a_batch_depends_on_the_step_and_the_rank_alone() -> None:
    first = SceneBatches(CONFIG)[2]
    again = SceneBatches(CONFIG)[2]
    other = SceneBatches(CONFIG)[3]
    elsewhere = SceneBatches(CONFIG, rank=1, world=2)[2]
    assert torch.equal(first.images, again.images) and torch.equal(first.tokens, again.tokens)
    assert not torch.equal(first.images, other.images)
    assert not torch.equal(first.images, elsewhere.images)


def test_a_image_matches_its_text_and_not_the_false_twin() -> None:
    batch = SceneBatches(replace(CONFIG, stages=(Stage(224, 32, 32, 64, 16, 40),)))[0]
    Q, R = batch.matches.shape
    assert len(batch.texts) == len(batch.lengths) == R == 2 * Q
    place = torch.arange(Q)
    assert batch.matches[place, 2 * place].all()
    twin_is_true = batch.matches[place, 2 * place + 1]
    same = (batch.texts[0::2] == batch.texts[1::2]).all(1)
    assert not twin_is_true.all()  # most scenes have a twin
    assert not same[~twin_is_true].any()  # which says something else
    # Worded alike: swapping names or numbers changes hardly any length.
    assert (batch.lengths[0::2] - batch.lengths[1::2]).abs().max() <= 6
    halves = batch.parts(2)
    assert [part.matches.shape for part in halves] == [(Q // 2, R // 2)] * 2
    assert torch.equal(halves[1].matches, batch.matches[Q // 2 :, R // 2 :])


def test_what_matches_is_what_is_true() -> None:
    rng = np.random.default_rng(0)
    shown = [drawing("val", index).scene for index in range(12)]
    shown += shown[:2]  # scenes that show the same
    texts = [one for scene in shown for one in true_and_false(scene, rng)]
    texts += [statement(scene, rng, "relate") for scene in shown]  # names no thing but in passing
    told = matches(shown, texts)
    assert told.tolist() == [[is_true(scene, text) for text in texts] for scene in shown]
    assert told.sum() > len(shown)


def test_claims_are_relations_and_their_inverses() -> None:
    batches = SceneBatches(replace(CONFIG, stages=(Stage(224, 8, 8, 64, 4, 40, claims=3),)))
    batch = batches[0]
    assert batch.claims.shape == (2 * 3 * 4, 24) and len(batch.claim_lengths) == 24
    assert [len(part.claims) for part in batch.parts(2)] == [12, 12]
    assert [len(part.questions) for part in batch.parts(2)] == [6, 6]
    for row, pair in zip(batch.questions, batch.claims.view(12, 2, -1), strict=True):
        assert row[0] < 0 or not torch.equal(pair[0], pair[1])
    ask = [row[0] >= 0 for row in batch.text_questions]
    assert len(ask) == 4 and any(ask)
    for asks, pair in zip(ask, batch.texts.view(4, 2, -1), strict=True):
        assert not asks or not torch.equal(pair[0], pair[1])
    none = SceneBatches(replace(CONFIG, stages=(Stage(224, 8, 8, 64, 4, 40, claims=0),)))[0]
    assert none.questions.shape == (0, 4) and len(none.parts(2)) == 2
    rng, lefts = np.random.default_rng(0), 0
    for index in range(100):
        shown = drawing("val", index).scene
        true, false = relation_and_inverse(shown, rng)
        if true != false:
            assert true.relation and false.relation
            assert holds(shown, true.relation) and not holds(shown, false.relation)
            lefts += true.relation.kind == "left" and false.relation.kind == "right"
    assert lefts > 3


def test_a_part_is_true_and_its_twin_is_not() -> None:
    batch = SceneBatches(replace(CONFIG, stages=(Stage(224, 8, 8, 64, 4, 40, claims=1, parts=2),)))[
        0
    ]
    assert batch.claims.shape == (2 * 3 * 4, 24) and batch.questions.shape == (3 * 4, 4)
    asked = batch.questions.view(4, 3, 4)[:, 1:]
    assert (asked < 0).all()  # no relation parts a label from its twin
    rng, numbers, several = np.random.default_rng(0), 0, 0
    for index in range(200):
        shown = names_in(drawing("val", index).scene)
        true, false = part_and_false(drawing("val", index).scene, rng)
        assert all(shown[one.name] == one.count for one in true.mentions)
        assert 1 <= len(true.mentions) == len(false.mentions) <= 2
        (wrong,) = (b for a, b in zip(true.mentions, false.mentions, strict=True) if a != b)
        assert shown[wrong.name] != wrong.count and 1 <= wrong.count <= MOST_ALIKE
        assert (wrong.name.color, wrong.name.noun) not in PAIRS
        numbers += wrong.name in shown
        several += len(true.mentions) < len(shown)
    assert 30 < numbers < 90 and several > 80


def test_one_phrasing_is_the_usual_one() -> None:
    always = replace(CONFIG, first_phrasing=1.0, styles={"plain": 1.0})
    batches = SceneBatches(always)
    rng = np.random.default_rng(0)
    shown = Scene((Thing(Name("dog"), (10.0, 10.0, 60.0, 60.0)),))
    said = {batches.encoder.decode(batches._caption(shown, "en", rng).ids[2:-1]) for _ in range(20)}
    assert {text.strip() for text in said} == {"A dog."}


def test_captions_are_packed_end_to_end_and_never_predict_each_other() -> None:
    captions = [
        CaptionTokens([5, 6, 7, 1]),
        CaptionTokens([8, 9, 1]),
        CaptionTokens([2, 3, 4, 5, 1]),
    ]
    row = pack(iter(captions), 8)
    tokens, targets, segments, positions = row.tolist()
    assert tokens == [5, 6, 7, 8, 9, 0, 0, 0]
    assert targets == [6, 7, 1, 9, 1, 0, 0, 0]
    assert segments == [1, 1, 1, 2, 2, 0, 0, 0]
    assert positions == [0, 1, 2, 0, 1, 0, 0, 0]
    assert pack(iter([CaptionTokens([5, 6, 7, 1]), CaptionTokens([8, 1])]), 2)[0].tolist() == [5, 6]


def test_what_is_given_of_a_caption_is_read_and_not_asked() -> None:
    captions = [CaptionTokens([5, 6, 1]), CaptionTokens([7, 8, 9, 3, 1], slice(0, 3))]
    tokens, targets, *_ = pack(iter(captions), 8).tolist()
    assert tokens == [5, 6, 7, 8, 9, 3, PAD_ID, PAD_ID]
    assert targets == [6, 1, PAD_ID, PAD_ID, 3, 1, PAD_ID, PAD_ID]
    tokens, targets, *_ = pack(iter([CaptionTokens([7, 8, 9, 3, 1], slice(2, 4))]), 4).tolist()
    assert (tokens, targets) == ([7, 8, 9, 3], [8, PAD_ID, PAD_ID, 1])
    assert common_prefix([7, 8, 9], [7, 8, 4, 5]) == 2


def test_the_end_of_a_list_that_ends_too_early_is_given() -> None:
    scenes = (Stage(224, 8, 8, 128, 2, 40),)
    batches = SceneBatches(replace(CONFIG, stages=scenes, styles={"grounded": 1.0}, slips=1.0))
    rng, early = np.random.default_rng(0), 0
    for i in range(200):
        ids, given = batches._caption(drawing("train", i).scene, "en", rng)
        assert given == NOTHING or given.stop > given.start
        early += given.start == end_of_boxes(ids)
    assert early


def test_captions_are_in_the_styles_of_the_run() -> None:
    plain = replace(CONFIG, styles={"plain": 2.0})
    assert TrainConfig.from_dict(plain.to_dict()) == plain
    batch = SceneBatches(plain)[0]
    first = batch.tokens[batch.positions == 1]
    assert (first[first != PAD_ID] == ID["<plain>"]).all()
    assert not torch.equal(batch.tokens, SceneBatches(CONFIG)[0].tokens)


def test_a_stage_may_show_more_namesakes_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Drawing] = []

    def watched(drawing: Drawing) -> np.ndarray:
        shown.append(drawing)
        return render(drawing)

    monkeypatch.setattr(data, "render", watched)

    def among_others(share: float) -> float:
        shown.clear()
        stage = Stage(224, 64, 32, 40, 2, 32, namesakes=share)
        SceneBatches(replace(CONFIG, stages=(stage,)))[0]
        counts = [Counter(thing.name for thing in one.scene.things) for one in shown]
        alike = [max(one.values()) for one in counts]
        if share == 1:  # every number of them is shown, four and five as often as two
            assert min(alike.count(k) for k in (2, 3, 4, 5)) > 32 / 10
        return float(np.mean([most > 1 for most in alike]))

    assert among_others(0.0) < 0.5 < among_others(0.6) < among_others(1.0) == 1.0


def test_scenes_follow_other_rules_and_fill_a_smaller_model_input() -> None:
    rules = {112: replace(WINDOW_RULES[112], nouns=("dog",))}
    batch = SceneBatches(CONFIG, model_input=112, rules=rules)[0]
    kinds = {KINDS[name] for name in (*SHAPES, "dog")} | {0}
    assert set(batch.hints[..., 0].unique().tolist()) <= kinds
    assert not batch.corners.any() and SceneBatches(CONFIG)[0].corners.any()
