"""`edgecap train`: a run that was stopped goes on as it began, and hours of work are not lost."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgecap.cli.app import main
from edgecap.reference.config import SIZES, CaptionerConfig
from edgecap.reference.extension import Extension
from edgecap.reference.model import weights
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.tokens import LANGUAGES
from edgecap.reference.train import extend_vocabulary, log, loop, plots
from edgecap.reference.train.checkpoint import Checkpoint
from edgecap.reference.train.config import Stage, TrainConfig
from edgecap.reference.train.optimisers import Optimisers

CONFIG = TrainConfig(
    size="tiny", seed=3, stages=(Stage(112, 8, 4, 40, 2, 32),), warmup_steps=2, first_phrasing=0.5
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "tiny", CaptionerConfig(width=32, layers=1, heads=2, embedding=16))
    monkeypatch.setattr(log, "EVERY", 1)
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


@pytest.mark.full
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
    for option, value in {"size": "S", "n": "5000", "seed": "0", "init": "S"}.items():
        assert main(["train", "-o", str(stopped), "--resume", f"--{option}", value]) == 2
        output = capsys.readouterr().err
        assert "[train.start]" in output and f"so --{option} cannot be given" in output
    assert main(["train", "-o", str(stopped)]) == 2
    assert "[train.exists]" in capsys.readouterr().err
    assert Checkpoint.load(stopped).step == before.step


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    for command in ("train", "qat"):
        assert main([command, "-o", str(tmp_path)]) == 2
        assert "[output.foreign]" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_new_run_is_what_the_options_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[TrainConfig] = []

    def record(config: TrainConfig, *_: object, **__: object) -> None:
        trained.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", record)
    out = ["train", "-o", str(tmp_path / "run")]
    main(out)
    main([*out, "--size", "M", "--images", "5000", "--seed", "7"])
    assert trained == [TrainConfig(), TrainConfig(size="M", seed=7).scaled(5000)]


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


def test_a_missing_tokenizer_is_told_in_one_line(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert main(["train", "-o", str(stopped), "--resume", "--no-compile"]) == 2
    assert "[package.missing] tokenizers" in capsys.readouterr().err


def test_a_missing_compiler_is_told_before_the_work(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert main(["train", "-o", str(stopped), "--resume"]) == 2
    assert "[train.compiler]" in capsys.readouterr().err
    assert Checkpoint.load(stopped).step == 1


def test_what_ran_out_of_memory_is_no_defect(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tight(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(loop, "train", tight)
    assert main(["train", "-o", str(stopped), "--resume"]) == 2
    assert "[memory.exhausted]" in capsys.readouterr().err


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """What runs were asked for; none learns, and each is too short for a row in its log."""
    configs: list[TrainConfig] = []

    def learn_nothing(
        config: TrainConfig, run: Path, init: CaptionModel | None, **_: object
    ) -> CaptionModel:
        configs.append(config)
        run.mkdir()
        (run / "log.jsonl").write_text("")
        return init or CaptionModel(SIZES[config.size])

    monkeypatch.setattr(loop, "train", learn_nothing)
    return configs


def test_too_few_scenes_for_a_stage_are_refused(
    trained: list[TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["train", "-o", str(tmp_path / "run"), "--size", "tiny", "--images"]
    assert main([*common, "64"]) == 2
    output = capsys.readouterr().err
    assert "[train.images]" in output and "at least 454" in output
    assert not (tmp_path / "run").exists() and trained == []
    assert main([*common, "454"]) == 0
    assert trained[0].steps == 8


def test_a_image_that_was_not_drawn_is_not_named(
    trained: list[TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-o", str(tmp_path / "run"), "--size", "tiny"]) == 0
    assert "log.png" not in capsys.readouterr().out
    assert not (tmp_path / "run" / "log.png").exists()


def test_languages_of_the_first_weights_are_taught_and_kept(
    trained: list[TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    knows = Extension().with_language("nl").with_language("sv")
    weights.save(CaptionModel(SIZES["tiny"]), tmp_path / "first.safetensors", {}, knows)
    begin = ["train", "--size", "tiny", "--init", str(tmp_path / "first.safetensors")]
    assert main([*begin, "-o", str(tmp_path / "run")]) == 0
    assert "described in sv" in capsys.readouterr().err
    assert weights.extension(tmp_path / "run" / "captioner-tiny.safetensors") == knows
    assert trained[0].stages[-1].languages == (*LANGUAGES, "nl")
    wordy = extend_vocabulary.extend(knows, "ko", ["빨간 원.", "빨간 원 두 개."])
    grown = extend_vocabulary.resize_embeddings(CaptionModel(SIZES["tiny"]), knows, wordy)
    weights.save(grown, tmp_path / "first.safetensors", {}, wordy)
    assert main([*begin, "-o", str(tmp_path / "other")]) == 0
    assert trained[1].shape == grown.config != SIZES["tiny"]


def test_a_run_may_begin_with_a_smaller_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SIZES, "small", replace(SIZES["tiny"], width=16, heads=1))
    small = CaptionModel(SIZES["small"])
    learned = loop.train(CONFIG, tmp_path / "run", init=small, compile_=False)
    assert learned.config == SIZES["tiny"]
    first = tmp_path / "tiny.safetensors"
    weights.save(learned, first, {})
    begin = ["train", "-o", str(tmp_path / "other"), "--init", str(first), "--size", "small"]
    assert main(begin) == 2
    output = capsys.readouterr().err
    assert output.startswith("edgecap: [model.expand_width]") and output.count("\n") == 1
    assert not (tmp_path / "other").exists()


@pytest.mark.full
def test_a_resumed_run_still_knows_its_languages(tmp_path: Path) -> None:
    knows = extend_vocabulary.extend(Extension(), "nl", ["Een driehoek.", "Een rode driehoek."])
    config, run = CONFIG.with_languages(knows), tmp_path / "run"
    first = extend_vocabulary.resize_embeddings(CaptionModel(SIZES["tiny"]), Extension(), knows)
    learned = loop.train(config, run, init=first, compile_=False)
    new = slice(SIZES["tiny"].vocabulary, None)  # rows of its own words
    assert knows.tokens and not torch.equal(learned.token.weight[new], first.token.weight[new])
    assert main(["train", "-o", str(run), "--resume", "--no-compile"]) == 0
    file = run / "captioner-tiny.safetensors"
    assert weights.extension(file) == knows and weights.load(file).config == first.config
