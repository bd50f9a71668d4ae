"""`edgecap train`: a run that was stopped goes on as it began, and hours of work are not lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from edgecap.cli.app import main
from edgecap.core.config import SIZES, CaptionerConfig
from edgecap.model import weights
from edgecap.train import loop, plots
from edgecap.train.checkpoint import Checkpoint
from edgecap.train.config import Stage, TrainConfig
from edgecap.train.optimisers import Optimisers

CONFIG = TrainConfig(
    size="tiny", seed=3, stages=(Stage(112, 8, 4, 40, 2, 32),), warmup_steps=2, first_phrasing=0.5
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "tiny", CaptionerConfig(width=32, layers=1, heads=2, embedding=16))
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    monkeypatch.setattr(loop, "SAVE_EVERY_S", -1)
    torch.set_num_threads(1)


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of CONFIG that was killed in its second step."""
    step = Optimisers.step

    def die(self: Optimisers, number: int) -> None:
        if number == 1:
            raise KeyboardInterrupt
        step(self, number)

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(Optimisers, "step", die)
        loop.train(CONFIG, tmp_path / "run", compile_=False)
    return tmp_path / "run"


def test_resume_takes_size_seed_and_recipe_from_the_run(stopped: Path) -> None:
    assert Checkpoint.load(stopped).step == 1
    assert main(["train", "-o", str(stopped), "--resume", "--no-compile"]) == 0
    saved = Checkpoint.load(stopped)
    assert (saved.config, saved.step) == (CONFIG, CONFIG.steps)
    file = stopped / "captioner-tiny.safetensors"
    assert TrainConfig.from_dict(weights.facts(file)["run"]) == CONFIG
    assert weights.load(file).config == SIZES["tiny"]
    assert (stopped / "log.png").exists()


def test_what_the_run_has_said_already_is_refused(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Checkpoint.load(stopped)
    for option, value in {"size": "S", "images": "5000", "seed": "0", "init": "S"}.items():
        assert main(["train", "-o", str(stopped), "--resume", f"--{option}", value]) == 2
        told = capsys.readouterr().err
        assert "[train.start]" in told and f"--{option} says otherwise" in told
    assert main(["train", "-o", str(stopped)]) == 2
    assert "[train.exists]" in capsys.readouterr().err
    assert Checkpoint.load(stopped).step == before.step


def test_a_new_run_is_what_the_options_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[TrainConfig] = []

    def record(config: TrainConfig, *_: object, **__: object) -> None:
        asked.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", record)
    out = ["train", "-o", str(tmp_path / "run")]
    main(out)
    main([*out, "--size", "M", "--images", "5000", "--seed", "7"])
    assert asked == [TrainConfig(), TrainConfig(size="M", seed=7).scaled(5000)]


def test_weights_are_saved_before_anything_is_drawn(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no backend to draw with")

    monkeypatch.setattr(plots, "plot_log", broken)
    assert main(["train", "-o", str(stopped), "--resume", "--no-compile"]) == 70
    assert weights.facts(stopped / "captioner-tiny.safetensors")["run"]["seed"] == CONFIG.seed


def test_a_missing_plotter_is_told_before_the_work(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["train", "-o", str(stopped), "--resume", "--no-compile"]) == 2
    assert "[package.missing] matplotlib" in capsys.readouterr().err
    assert Checkpoint.load(stopped).step == 1
