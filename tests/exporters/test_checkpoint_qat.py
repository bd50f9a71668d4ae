"""`edgecap qat CHECKPOINT`: any captioner learns to answer under rounding as it did in float."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_checkpoints import OTHER_CAPTIONERS, make_whole
from tiny_onnx import images

from edgecap.bundle.io import open_bundle
from edgecap.cli.app import main
from edgecap.core.errors import EdgecapError
from edgecap.exporters import rounded
from edgecap.exporters.checkpoint_plan import fingerprint
from edgecap.exporters.checkpoint_qat import CheckpointQat, tune
from edgecap.models import checkpoint, registry
from edgecap.quant import distil as distillation
from edgecap.quant.learned import LearnedRounding
from edgecap.quant.plan import read_plan
from edgecap.quant.rounding import rows
from edgecap.quant.samples import CalibrationSpec
from edgecap.runtime.image_processing import ModelInput

IMAGES, SEEN = 40, 96  # 8 held out; three passes of 32


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_whole("blip", "tiny", tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("own") / "images", IMAGES)


@pytest.fixture(scope="module")
def run(blip: Path, own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    out = tmp_path_factory.mktemp("run") / "out"
    command = ["qat", str(blip), "--data", str(own), "--n", str(SEEN), "-o", str(out)]
    assert main([*command, "--json", str(out.parent / "told.json")]) == 0
    return out


def test_a_run_reports_every_step_and_the_images_held_out(run: Path) -> None:
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [row["images"] for row in log] == list(range(16, SEEN + 1, 16))
    assert all(row["word_loss"] > 0 and row["state_loss"] > 0 for row in log)
    told = json.loads((run.parent / "told.json").read_text())
    assert told["images"] == SEEN and told["before"]["steps"] == told["after"]["steps"] > 0
    assert told["after"]["top1"] > 0.9 and told["after"]["divergence"] > 0


def test_a_checkpoint_comes_out_whose_int8_weights_lie_on_their_grid(run: Path, blip: Path) -> None:
    opened = checkpoint.open_checkpoint(run)
    plan = read_plan(run / "plan.json")
    assert plan.weights == fingerprint(opened) and plan.calibration.observer == "learned"
    assert plan.precision == "w8a8" and plan.smoothing == {}
    assert {f.name for f in blip.iterdir()} | {"plan.json", "log.jsonl"} == {
        f.name for f in run.iterdir()
    }
    subject = rounded.subject(registry.load(opened))
    original = rounded.subject(registry.load(checkpoint.open_checkpoint(blip))).weights()
    moved = 0
    for name, weight in subject.weights().items():
        if plan.layers[name].kind != "fp32":
            integers, scale = rows(weight.detach().numpy())
            assert np.allclose(integers * scale[:, None], weight.detach().numpy(), atol=1e-6)
        moved += not torch.equal(weight, original[name])
    assert moved == len(original)


def test_the_plan_exports_what_was_learned(run: Path, tmp_path: Path) -> None:
    command = ["export", str(run), "-f", "onnx", "--int8", "--plan", str(run / "plan.json")]
    assert main([*command, "-o", str(tmp_path / "b")]) == 0
    bundle = open_bundle(tmp_path / "b")
    assert bundle.manifest.precision == "w8a8"
    assert read_plan(bundle.path / "plan.json") == read_plan(run / "plan.json")


class Training:
    """A tiny teacher, its captions of noise, and its rounded copy that is to learn from it."""

    def __init__(self, blip: Path) -> None:
        self.adapter = registry.load(checkpoint.open_checkpoint(blip))
        h, w = self.adapter.image_size
        noise = np.random.default_rng(0).integers(0, 256, (16, h, w, 3), np.uint8)
        images = [ModelInput(pixels[None], (0, 0)) for pixels in noise]
        prompt = next(iter(self.adapter.generation.prompts.values()))
        self.captions = rounded.collect(self.adapter, images, prompt)
        spec = CalibrationSpec(images=16)
        self.made = rounded.calibrated(self.adapter, self.captions, spec, "0" * 64)
        subject = self.made.subject
        self.student = subject.with_own(name for name, _ in subject.model.named_modules())
        self.learned = LearnedRounding(self.student, replace(self.made.plan, smoothing={}))

    def steps(self, images: int) -> list[distillation.Step]:
        parameters = list(self.student.model.requires_grad_(True).parameters())
        done = distillation.distil(
            self.adapter.functions(),
            self.learned,
            parameters,
            self.captions,
            lambda seen: seen / images,
        )
        return list(done)


def test_gradients_reach_every_layer_and_every_scale(blip: Path) -> None:
    training = Training(blip)
    assert len(training.steps(16)) == 1
    for name, layer in training.made.plan.layers.items():
        if layer.functions:
            gradient = training.student.layers[name].parameter(training.student.model).grad
            assert gradient is not None and gradient.abs().max() > 0, name
    growth = training.learned.scales.growth.grad
    assert growth is not None
    places = zip(training.learned.scales.factors(), growth.tolist(), strict=True)
    # Encode also runs layers of the text on an unused token, which reach none of its outputs.
    decode = {place: gradient for place, gradient in places if place[1] == "decode"}
    assert len(decode) > 10 and all(decode.values())
    assert all(p.grad is None for p in training.adapter.model.parameters())


def test_a_student_that_strayed_comes_back(blip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillation, "RATE", 1e-3)
    training = Training(blip)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in training.student.weights().values():
            weight.add_(0.3 * weight.std() * torch.randn_like(weight))
    steps = training.steps(10 * 16)
    assert steps[-1].word_loss < 0.7 * steps[0].word_loss
    assert steps[-1].state_loss < 0.7 * steps[0].state_loss


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], "qat.data"),
        (["--data", "FEW"], "qat.data"),
        (["--data", "OWN", "--resume"], "qat.checkpoint"),
        (["--data", "OWN", "--compile"], "qat.checkpoint"),
        (["--data", "OWN", "--n", "32", "--minutes", "1"], "qat.length"),
        (["--data", "OWN", "--observer", "best"], "observer.unknown"),
        (["--data", "OWN", "--plan", "none.json"], "plan.missing"),
    ],
)
def test_what_cannot_work_is_refused_before_work(
    options: list[str],
    code: str,
    blip: Path,
    own: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = images(tmp_path / "few", 3)
    given = [{"OWN": str(own), "FEW": str(few)}.get(option, option) for option in options]
    out = tmp_path / "out"
    assert main(["qat", str(blip), "-o", str(out), *given]) == 2
    captured = capsys.readouterr()
    assert f"[{code}]" in captured.err and captured.err.count("edgecap:") == 1
    assert not out.exists()


def test_an_embedder_has_no_captions_to_learn(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    siglip = make_whole("siglip", "tiny", tmp_path / "siglip")
    assert main(["qat", str(siglip), "--data", str(own), "-o", str(tmp_path / "out")]) == 2
    assert "[qat.captions]" in capsys.readouterr().err


def test_the_reference_learns_from_scenes_alone(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["qat", "S", "--data", str(own)]) == 2
    assert "[qat.data]" in capsys.readouterr().err


def test_a_directory_in_the_way_is_kept(blip: Path, own: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(EdgecapError) as caught:
        tune(CheckpointQat(str(blip), own, tmp_path))
    assert caught.value.code == "output.exists"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.full
@pytest.mark.parametrize(("family", "variant"), OTHER_CAPTIONERS)
def test_every_family_learns(family: str, variant: str, own: Path, tmp_path: Path) -> None:
    given = make_whole(family, variant, tmp_path / family)
    made = tune(CheckpointQat(str(given), own, tmp_path / "out", images=16))
    assert made.images == 16 and made.after.steps > 0
    opened = checkpoint.open_checkpoint(made.checkpoint)
    assert read_plan(made.plan).weights == fingerprint(opened)
    rounded.by(read_plan(made.plan), registry.load(opened))
