"""A run learns, and a run that was killed ends with the very weights of one that was not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_train import CONFIG, TINY

from edgecap.core.errors import InputError
from edgecap.reference.config import SIZES, CaptionerConfig
from edgecap.reference.extension import Extension
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.tokens import LANGUAGES
from edgecap.reference.train import log, loop
from edgecap.reference.train.average import RunningMean
from edgecap.reference.train.checkpoint import NAME, Checkpoint
from edgecap.reference.train.config import Stage, TrainConfig
from edgecap.reference.train.data import SceneBatches
from edgecap.reference.train.log import read_log
from edgecap.reference.train.losses import Objective
from edgecap.reference.train.memory import parts_that_fit, step_bytes
from edgecap.reference.train.optimisers import Optimisers
from edgecap.reference.train.plots import plot_log


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "tiny", TINY)
    monkeypatch.setattr(log, "EVERY", 1)
    monkeypatch.setattr(loop, "SAVE_EVERY_S", -1)
    torch.set_num_threads(1)


@pytest.mark.full
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


def test_out_of_memory_halves_the_batch_and_keeps_the_gradients() -> None:

    # Fewer negatives make the contrastive loss another one, so it is left out.
    alone = replace(CONFIG, contrast_weight=0.0)
    torch.manual_seed(0)
    model = CaptionModel(TINY)
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
    objective = Objective(CaptionModel(TINY))
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
    run = replace(CONFIG, stages=stages).with_languages(korean)
    assert run.stages[0].languages == ("en",)
    assert run.stages[1].languages == (*LANGUAGES, "ko")
    assert run.untrained_languages == ("sv",)  # no grammar
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


def test_a_run_may_begin_with_given_weights(tmp_path: Path) -> None:

    torch.manual_seed(1)
    given = CaptionModel(TINY)
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
