"""A run learns, and a run that was killed ends with the very weights of one that was not."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgecap.core.config import SIZES, CaptionerConfig
from edgecap.core.errors import InputError
from edgecap.core.extension import Extension
from edgecap.core.tokens import ID, LANGUAGES, LOCATION_IDS, PAD_ID
from edgecap.model.captioner import Captioner
from edgecap.scenes.describe import statement
from edgecap.scenes.graph import SHAPES, Name, Scene, Thing
from edgecap.scenes.relations import holds
from edgecap.scenes.render import render
from edgecap.scenes.sample import WINDOW_RULES, Drawing
from edgecap.scenes.splits import drawing
from edgecap.scenes.twins import is_true
from edgecap.train import data, log, loop
from edgecap.train.average import RunningMean
from edgecap.train.checkpoint import NAME, Checkpoint
from edgecap.train.config import Stage, TrainConfig
from edgecap.train.data import (
    NOTHING,
    Asked,
    SceneBatches,
    end_of_boxes,
    matches,
    pack,
    parted,
    relation_and_inverse,
    true_and_false,
)
from edgecap.train.hints import KINDS
from edgecap.train.log import read_log
from edgecap.train.losses import (
    TWIN_TEMPERATURE,
    Objective,
    after_boxes,
    answer,
    differ,
    twin_loss,
    word_losses,
)
from edgecap.train.memory import parts_that_fit, step_bytes
from edgecap.train.optimisers import Optimisers
from edgecap.train.plots import plot_log

TINY = CaptionerConfig(width=32, layers=1, heads=2, embedding=16)
CONFIG = TrainConfig(
    size="tiny",
    stages=(Stage(112, 16, 4, 40, 2, 32), Stage(224, 4, 2, 64, 2, 40)),
    warmup_steps=2,
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "tiny", TINY)
    monkeypatch.setattr(log, "EVERY", 1)
    monkeypatch.setattr(loop, "SAVE_EVERY_S", -1)
    torch.set_num_threads(1)


def test_a_killed_run_resumed_equals_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = loop.train(CONFIG, tmp_path / "whole", compile_=False).state_dict()
    step = Optimisers.step

    def die(self: Optimisers, number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt
        step(self, number)

    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "log.jsonl").write_text('{"step": 1, "caption_lo')  # killed unsaved
    with monkeypatch.context() as killed:
        killed.setattr(Optimisers, "step", die)
        with pytest.raises(KeyboardInterrupt):
            loop.train(CONFIG, tmp_path / "cut", compile_=False)
    assert Checkpoint.load(tmp_path / "cut").step == 3
    assert read_log(tmp_path / "cut" / "log.jsonl")[0]["step"] == 1  # not of the run before
    with (tmp_path / "cut" / "log.jsonl").open("a") as file:  # killed after more than was saved
        file.write('{"step": 4}\n{"step": 5, "caption_lo')
    resumed = loop.train(CONFIG, tmp_path / "cut", resume=True, compile_=False).state_dict()
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, atol=0, rtol=0)
    kept = Checkpoint.load(tmp_path / "cut")
    for name, tensor in whole.items():  # what a run gives is the mean, not where it stands
        torch.testing.assert_close(kept.mean[name], tensor, atol=0, rtol=0)
    assert not torch.equal(kept.model["captioner.token.weight"], whole["token.weight"])
    rows = read_log(tmp_path / "cut" / "log.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    plot_log(tmp_path / "cut" / "log.jsonl", tmp_path / "log.png")
    assert (tmp_path / "log.png").read_bytes().startswith(b"\x89PNG")


def test_the_mean_is_of_all_steps_at_first_and_forgets_later() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    mean = RunningMean(module, 4)
    for step in range(1, 7):
        with torch.no_grad():
            module.weight.fill_(step)
        mean.update(step)
        if step == 4:
            torch.testing.assert_close(mean.state()["weight"].item(), (1 + 2 + 3 + 4) / 4)
    resumed = RunningMean(module, 4)
    resumed.load(mean.state())
    for both in (mean, resumed):
        both.update(7)
    expected = ((2.5 * 0.75 + 5 * 0.25) * 0.75 + 6 * 0.25) * 0.75 + 6 * 0.25
    for both in (mean, resumed):
        assert both.state()["weight"].item() == pytest.approx(expected)


def test_a_batch_depends_on_the_step_and_the_rank_alone() -> None:
    first = SceneBatches(CONFIG)[2]
    again = SceneBatches(CONFIG)[2]
    other = SceneBatches(CONFIG)[3]
    elsewhere = SceneBatches(CONFIG, rank=1, world=2)[2]
    assert torch.equal(first.images, again.images) and torch.equal(first.tokens, again.tokens)
    assert not torch.equal(first.images, other.images)
    assert not torch.equal(first.images, elsewhere.images)


def test_a_picture_matches_its_text_and_not_the_false_twin() -> None:
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


def test_twins_are_told_apart_by_the_margin_alone() -> None:
    image = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # [Q,E]
    true, false = torch.tensor([0.6, 0.8]), torch.tensor([0.8, 0.6])
    texts = torch.stack([true, false, true, false])  # [2C,E]
    far = torch.tensor(
        0.2 / TWIN_TEMPERATURE
    )  # the first picture is nearer to the false one, by 0.2
    first = twin_loss(image, texts, torch.tensor([True, False]))
    torch.testing.assert_close(first, F.softplus(far))
    both = twin_loss(image, texts, torch.tensor([True, True]))
    torch.testing.assert_close(both, F.softplus(far) + F.softplus(-far))
    twice = twin_loss(image[:1], texts, torch.tensor([True, True]))  # two claims of one picture
    torch.testing.assert_close(twice, 2 * F.softplus(far))
    assert differ(torch.tensor([[1, 2], [1, 2], [1, 2], [2, 1]])).tolist() == [False, True]


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


def test_one_phrasing_is_the_usual_one() -> None:
    always = replace(CONFIG, first_phrasing=1.0, styles={"plain": 1.0})
    batches = SceneBatches(always)
    rng = np.random.default_rng(0)
    shown = Scene((Thing(Name("dog"), (10.0, 10.0, 60.0, 60.0)),))
    said = {batches.encoder.decode(batches._caption(shown, "en", rng).ids[2:-1]) for _ in range(20)}
    assert {text.strip() for text in said} == {"A dog."}


def test_out_of_memory_halves_the_batch_and_keeps_the_gradients() -> None:

    # Fewer negatives make the contrastive loss another one, so it is left out.
    alone = replace(CONFIG, contrast_weight=0.0)
    torch.manual_seed(0)
    model = Captioner(TINY)
    batch = SceneBatches(replace(CONFIG, stages=(Stage(112, 16, 4, 40, 4, 32),)))[0]
    objective = Objective(model)
    terms = objective.terms(batch, alone)
    means, parts = loop.learn(objective, batch, 1, terms)
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    calls = []

    def tight(part):  # type: ignore[no-untyped-def]
        calls.append(len(part.images))
        if len(part.images) > 2 or len(calls) == 3:  # the second half, once the first is learnt
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return objective(part)

    in_parts_means, parts_used = loop.learn(objective, batch, 1, terms, tight)
    assert (parts, parts_used, calls) == (1, 4, [4, 2, 2, 1, 1, 1, 1])
    for name in ("caption", "hint"):
        assert float(in_parts_means[name]) == pytest.approx(float(means[name]), rel=2e-2)  # bf16
    in_parts = [p.grad for p in model.parameters() if p.grad is not None]
    for whole, halves in zip(gradients, in_parts, strict=True):
        torch.testing.assert_close(halves, whole, atol=2e-2, rtol=5e-2)

    def broken(part):  # type: ignore[no-untyped-def]
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        loop.learn(objective, batch, 1, terms, broken)


def test_a_compiled_objective_learns_what_a_plain_one_does() -> None:
    torch.manual_seed(0)
    batch = SceneBatches(replace(CONFIG, stages=(Stage(112, 4, 4, 40, 2, 32),)))[0]
    objective = Objective(Captioner(TINY))
    terms = objective.terms(batch, CONFIG)
    plain, _ = loop.learn(objective, batch, 1, terms)
    compiled = torch.compile(objective, backend="eager", dynamic=False)
    losses, _ = loop.learn(objective, batch, 1, terms, compiled)
    for name, loss in losses.items():
        torch.testing.assert_close(loss, plain[name], rtol=1e-3, atol=1e-5)


def test_a_batch_is_cut_to_the_memory_there_is() -> None:
    config, stage = CaptionerConfig(), TrainConfig().stages[0]
    need = step_bytes(config, stage)
    assert parts_that_fit(config, stage, need * 10) == 1
    assert parts_that_fit(config, stage, int(need / 2)) == 4
    assert stage.texts % parts_that_fit(config, stage, 1) == 0


def test_rates_rise_hold_and_fall() -> None:
    config = TrainConfig()
    assert config.rate(0) < config.rate(50) < config.rate(100) == 1.0
    assert config.rate(config.steps // 2) == 1.0
    assert config.rate(config.steps - 1) == 0.02
    assert config.scaled(1_000).steps < 30


def test_a_run_that_would_leave_out_a_stage_is_refused() -> None:
    config = TrainConfig()
    with pytest.raises(InputError, match="at least 454") as caught:
        config.scaled(64)
    assert caught.value.code == "train.images"
    with pytest.raises(InputError):
        config.scaled(453)
    assert all(stage.steps for stage in config.scaled(454).stages)


def test_a_run_knows_the_languages_of_its_weights() -> None:
    korean = Extension().with_language("sv").with_language("ko").with_tokens(("원",), ())
    stages = (Stage(112, 32, 32, 64, 16, 32, ("en",)), *CONFIG.stages)
    run = replace(CONFIG, stages=stages).knowing(korean)
    assert run.stages[0].languages == ("en",)
    assert run.stages[1].languages == (*LANGUAGES, "ko")
    assert run.untaught == ("sv",)  # no grammar
    assert TrainConfig.from_dict(json.loads(json.dumps(run.to_dict()))) == run
    assert "extension" not in CONFIG.to_dict()


def test_what_cannot_be_resumed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no"):
        Checkpoint.load(tmp_path)
    (tmp_path / NAME).write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="cannot be read"):
        Checkpoint.load(tmp_path)
    with pytest.raises(InputError, match="must divide"):
        Stage(112, 64, 64, 40, 24, 32)


def test_captions_are_packed_end_to_end_and_never_predict_each_other() -> None:
    captions = [Asked([5, 6, 7, 1]), Asked([8, 9, 1]), Asked([2, 3, 4, 5, 1])]
    row = pack(iter(captions), 8)
    tokens, targets, segments, positions = row.tolist()
    assert tokens == [5, 6, 7, 8, 9, 0, 0, 0]
    assert targets == [6, 7, 1, 9, 1, 0, 0, 0]
    assert segments == [1, 1, 1, 2, 2, 0, 0, 0]
    assert positions == [0, 1, 2, 0, 1, 0, 0, 0]
    assert pack(iter([Asked([5, 6, 7, 1]), Asked([8, 1])]), 2)[0].tolist() == [5, 6]


def test_boxes_may_weigh_less_than_words() -> None:
    torch.manual_seed(0)
    objective, batch = Objective(Captioner(TINY)), SceneBatches(CONFIG)[0]
    sums = dict(zip(objective.terms(batch, CONFIG), objective(batch), strict=True))
    words = word_losses(answer(objective.captioner, batch).logits, batch.targets)
    places = torch.isin(batch.targets, torch.tensor(LOCATION_IDS))
    assert places.any() and not places.all()
    torch.testing.assert_close(sums["box"], words[places].sum())
    torch.testing.assert_close(sums["caption"], words[~places].sum())
    half = objective.terms(batch, replace(CONFIG, box_weight=0.5))
    assert (half["caption"].weight, half["box"].weight) == (1.0, 0.5)


def test_what_is_given_of_a_caption_is_read_and_not_asked() -> None:
    captions = [Asked([5, 6, 1]), Asked([7, 8, 9, 3, 1], slice(0, 3))]
    tokens, targets, *_ = pack(iter(captions), 8).tolist()
    assert tokens == [5, 6, 7, 8, 9, 3, PAD_ID, PAD_ID]
    assert targets == [6, 1, PAD_ID, PAD_ID, 3, 1, PAD_ID, PAD_ID]
    tokens, targets, *_ = pack(iter([Asked([7, 8, 9, 3, 1], slice(2, 4))]), 4).tolist()
    assert (tokens, targets) == ([7, 8, 9, 3], [8, PAD_ID, PAD_ID, 1])
    assert parted([7, 8, 9], [7, 8, 4, 5]) == 2


def test_what_follows_the_last_box_is_weighed_apart() -> None:
    """In a batch as it is drawn: each caption's tokens from its last location token on."""
    scenes = (Stage(224, 8, 8, 128, 2, 40),)
    batch = SceneBatches(replace(CONFIG, stages=scenes, styles={"grounded": 1.0}, slips=0.5))[0]
    found = after_boxes(batch)  # [B,T]
    slips = 0
    for row in range(len(batch.tokens)):
        for segment in set(batch.segments[row].tolist()) - {0}:
            own = batch.segments[row] == segment
            ids, asked = batch.tokens[row, own].tolist(), batch.targets[row, own] != PAD_ID
            end = end_of_boxes(ids)
            assert found[row, own].tolist() == [i + 1 >= end > 0 for i in range(len(ids))]
            given = (~asked).nonzero().flatten().tolist()
            assert asked[end - 1 :].all()
            assert given == list(range(end - 1 - len(given), end - 1))  # from the slip to its end
            slips += len(given) > 0
    assert slips


def test_the_end_of_a_list_that_ends_too_early_is_given() -> None:
    scenes = (Stage(224, 8, 8, 128, 2, 40),)
    batches = SceneBatches(replace(CONFIG, stages=scenes, styles={"grounded": 1.0}, slips=1.0))
    rng, early = np.random.default_rng(0), 0
    for i in range(200):
        ids, given = batches._caption(drawing("train", i).scene, "en", rng)
        assert given == NOTHING or given.stop > given.start
        early += given.start == end_of_boxes(ids)
    assert early


def test_a_run_may_begin_with_given_weights(tmp_path: Path) -> None:

    torch.manual_seed(1)
    given = Captioner(TINY)
    none = replace(CONFIG, muon_rate=0.0, adamw_rate=0.0, weight_decay=0.0)
    trained = loop.train(none, tmp_path / "run", init=given, compile_=False)
    for name, tensor in given.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], tensor)


@pytest.mark.parametrize(
    "styles", [{}, {"grounded": 0.0}, {"grounded": 1.5, "plain": -0.5}, {"poem": 1.0}]
)
def test_shares_of_styles_that_cannot_be_are_refused(styles: dict[str, float]) -> None:
    with pytest.raises(InputError, match="styles are") as caught:
        replace(CONFIG, styles=styles)
    assert caught.value.code == "train.styles"


def test_a_run_that_asked_no_questions_asks_none() -> None:
    data = CONFIG.to_dict()
    assert TrainConfig.from_dict(data).question_weight == CONFIG.question_weight > 0
    del data["question_weight"]
    assert TrainConfig.from_dict(data).question_weight == 0


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


def test_scenes_follow_other_rules_and_fill_a_smaller_canvas() -> None:
    rules = {112: replace(WINDOW_RULES[112], nouns=("dog",))}
    batch = SceneBatches(CONFIG, canvas=112, rules=rules)[0]
    kinds = {KINDS[name] for name in (*SHAPES, "dog")} | {0}
    assert set(batch.hints[..., 0].unique().tolist()) <= kinds
    assert not batch.corners.any() and SceneBatches(CONFIG)[0].corners.any()
