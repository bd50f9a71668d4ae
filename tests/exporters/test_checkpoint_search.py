"""`edgecap export CHECKPOINT --max-drop`: a plan that is judged by captions, for any family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_checkpoints import OTHER_CAPTIONERS, make_whole
from tiny_onnx import images

from edgecap.bundle.io import open_bundle
from edgecap.cli.app import main
from edgecap.core.errors import GateError, InputError
from edgecap.exporters import rounded
from edgecap.exporters.job import export
from edgecap.exporters.spec import ExportRequest
from edgecap.models import checkpoint, registry
from edgecap.models.checkpoint_captioner import CheckpointCaptioner
from edgecap.quant.captions import CaptionSet, collect_captions
from edgecap.quant.plan import fingerprint_of, read_plan
from edgecap.quant.samples import CalibrationSpec
from edgecap.quant.search.captions import SameCaptions, ScoredCaptions
from edgecap.quant.search.sensitivity import with_kinds
from edgecap.quant.simulate import simulate
from edgecap.runtime.image_processing import ModelInput


class Tiny:
    """A checkpoint with random weights, its captions of noise, and a plan."""

    def __init__(self, family: str, variant: str, folder: Path) -> None:
        self.directory = make_whole(family, variant, folder)
        self.adapter = registry.load(checkpoint.open_checkpoint(self.directory))
        h, w = self.adapter.image_size
        noise = np.random.default_rng(0).integers(0, 256, (16, h, w, 3), np.uint8)
        images = [ModelInput(pixels[None], (0, 0)) for pixels in noise]
        self.prompt = next(iter(self.adapter.generation.prompts.values()))
        self.captions = rounded.collect(self.adapter, images, self.prompt)
        spec = CalibrationSpec(images=16)
        self.plan = rounded.calibrated(self.adapter, self.captions, spec, "0" * 64).plan
        self.subject = rounded.subject(self.adapter)

    def simulated(self) -> Any:
        return simulate(self.subject, self.plan)

    def decoded(self, functions: Any) -> CaptionSet:
        end = self.adapter.generation.end
        return collect_captions(
            functions, self.adapter.interface, self.captions.images, self.prompt, end
        )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny("blip", "tiny", tmp_path_factory.mktemp("blip"))


# ------------------------------------------------------------------ the evaluators


def test_feeding_captions_tells_which_decoding_would_repeat(tiny: Tiny) -> None:
    assert tiny.captions.unchanged(tiny.adapter.functions(), "itself").all()
    simulated = tiny.simulated()
    again = tiny.decoded(simulated).captions
    same = [a == b for a, b in zip(again, tiny.captions.captions, strict=True)]
    assert 0 < sum(same) < len(same)
    assert tiny.captions.unchanged(simulated, "w8a8").tolist() == same
    assert SameCaptions(tiny.captions).score(simulated, "w8a8")[:, 0].tolist() == same


def words(tokens: Any) -> str:
    return " ".join(f"w{token}" for token in tokens)


def test_captions_of_people_score_what_a_plan_writes_itself(tiny: Tiny) -> None:
    end = tiny.adapter.generation.end
    behind = [caption[tiny.captions.prompt :] for caption in tiny.captions.captions]
    references = [[words(caption[:-1] if caption[-1] in end else caption)] for caption in behind]
    evaluator = ScoredCaptions(tiny.captions, references, end, words)
    assert evaluator.scores.shape == (16, 1) and evaluator.scores.min() > 0
    simulated = tiny.simulated()
    found = evaluator.score(simulated, "w8a8")
    same = SameCaptions(tiny.captions).score(simulated, "w8a8")
    assert np.array_equal(found[same], evaluator.scores[same])
    assert (found[~same] < evaluator.scores[~same]).all()
    expected = ScoredCaptions(tiny.decoded(simulated), references, end, words)
    assert np.allclose(found, expected.scores)


def test_captions_of_other_images_have_nothing_to_lose(tiny: Tiny) -> None:
    with pytest.raises(InputError) as caught:
        ScoredCaptions(tiny.captions, [["a dog"], ["a cat"]] * 8, (), words)
    assert caught.value.code == "max_drop.nothing"


# ------------------------------------------------------------------ the command


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sensitivity on two images instead of sixteen: half of the work of a search."""
    monkeypatch.setattr("edgecap.quant.search.search.IMAGES", 2)


@pytest.mark.full
def test_a_checkpoint_gets_the_plan_that_its_budget_allows(
    tiny: Tiny,
    few: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = images(tmp_path / "own", 20)
    monkeypatch.chdir(tmp_path)
    options = ["export", str(tiny.directory), "-f", "onnx", "--calib-data", str(own)]
    search = [*options, "--num-calib", "16", "--max-drop", "7", "-o", "found"]
    assert main([*search, "--json", "told.json"]) == 0
    assert "chosen: " in capsys.readouterr().err
    bundle = open_bundle(tmp_path / "found")
    assert {"plan.json", "search.json", "pareto.png"} <= set(bundle.manifest.files)
    found, plan = bundle.json("search.json"), read_plan(bundle.path / "plan.json")
    assert found["measure"] == "captions as in fp32" and found["plan"] == fingerprint_of(plan)
    assert found["points"][0]["drop"]["points"] > 7 >= bundle.manifest.plan["search"]["points"]
    assert bundle.manifest.precision == plan.precision == "mixed"
    (told,) = json.loads(Path("told.json").read_text())["bundles"]
    assert told["precision"] == "mixed" and told["parity"]["agreements"]
    assert "captions as in fp32" in (bundle.path / "README.md").read_text()
    # The plan serves another export, which says how it was found.
    copy = ["export", str(tiny.directory), "-f", "onnx", "--plan", "found/plan.json", "-o", "copy"]
    assert main([*copy, "--int8", "--no-verify"]) == 0
    copied = open_bundle(tmp_path / "copy").manifest
    assert copied.precision == "mixed" and copied.plan == bundle.manifest.plan
    assert main([*copy, "-p", "w8a8", "--overwrite"]) == 2
    assert "[plan.precision]" in capsys.readouterr().err


@pytest.mark.full
def test_a_search_is_judged_by_captions_that_people_wrote(
    tiny: Tiny, few: None, tmp_path: Path
) -> None:
    own = images(tmp_path / "own", 16)
    names = sorted(path.name for path in own.iterdir())
    found = CheckpointCaptioner(tiny.directory).caption([own / name for name in names])
    lines = [
        json.dumps({"image": name, "caption": caption.text})
        for name, caption in zip(names, found, strict=True)
    ]
    (own / "captions.jsonl").write_text("\n".join(lines))
    request = ExportRequest(
        str(tiny.directory),
        ("onnx",),
        "mixed",
        tmp_path / "b",
        verify=False,
        calibration=CalibrationSpec(own, 16),
        max_drop=100.0,
        data=own / "captions.jsonl",
    )
    made = export(request)
    record = open_bundle(made.path).json("search.json")
    assert record["measure"] == made.manifest.plan["search"]["measure"] == "CIDEr-D"
    assert record["score_fp32"] > 0.5  # the captions are the model's own, cut to eight tokens
    assert record["points"][0]["drop"]["points"] > 0


def test_an_impossible_budget_writes_nothing(
    tiny: Tiny, few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = np.zeros(16, bool)
    monkeypatch.setattr(CaptionSet, "unchanged", lambda *_: changed)
    request = ExportRequest(
        str(tiny.directory),
        ("onnx",),
        "mixed",
        tmp_path / "b",
        verify=False,
        calibration=CalibrationSpec(images=16),
        max_drop=0.5,
    )
    with pytest.raises(GateError) as caught:
        export(request)
    assert caught.value.code == "max_drop.impossible"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--int8", "--data", "DATA"], "max_drop.data"),
        (["--max-drop", "1", "--data", "ONE"], "max_drop.data"),
        (["--max-drop", "1", "--data", "NONE"], "pairs.missing"),
        (["--max-drop", "-1"], "max_drop.range"),
        (["--fp16", "--max-drop", "1"], "max_drop.precision"),
        (["--max-drop", "1", "--images", "photos"], "max_drop.data"),
        (["-p", "mixed"], "plan.needed"),
    ],
)
def test_what_cannot_work_is_refused_before_work(
    options: list[str],
    code: str,
    tiny: Tiny,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = images(tmp_path / "own", 2)
    first, second = sorted(path.name for path in own.iterdir())
    lines = [json.dumps({"image": name, "caption": "a dog"}) for name in (first, second)]
    (own / "DATA.jsonl").write_text("\n".join(lines))
    (own / "ONE.jsonl").write_text(lines[0])
    given = [str(own / f"{o}.jsonl") if o in ("DATA", "ONE", "NONE") else o for o in options]
    out = tmp_path / "b"
    command = ["export", str(tiny.directory), "-f", "onnx", "-o", str(out), *given]
    assert main(command) == 2
    captured = capsys.readouterr()
    assert f"[{code}]" in captured.err and captured.err.count("edgecap:") == 1
    assert not out.exists()


def test_the_images_of_data_may_lie_elsewhere(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As COCO has them; otherwise the message names the path that was tried."""
    monkeypatch.chdir(tmp_path)
    names = sorted(path.name for path in images(tmp_path / "photos", 2).iterdir())
    lines = [json.dumps({"image": name, "caption": "a dog"}) for name in names]
    Path("captions.jsonl").write_text("\n".join(lines))
    command = ["export", str(tiny.directory), "-f", "onnx", "--max-drop", "1", "--dry-run"]
    command += ["--data", "captions.jsonl"]
    assert main([*command, "--images", "photos"]) == 0
    capsys.readouterr()
    assert main(command) == 2
    missing = f"captions.jsonl:1 names an image that does not exist, {names[0]}."
    assert missing in capsys.readouterr().err


def test_what_is_advised_without_a_plan_works_for_a_model_without_captions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", str(make_whole("clip", "tiny", tmp_path / "clip")), "-f", "onnx"]
    assert main([*command, "-p", "mixed"]) == 2
    advised = capsys.readouterr().err.split("run with: ")[1].split()
    assert main([*command, *advised, "--dry-run"]) == 0


def test_the_reference_is_judged_on_scenes_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "captions.jsonl"
    assert main(["export", "S", "--max-drop", "1", "--data", str(data)]) == 2
    assert "[max_drop.data]" in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.parametrize(("family", "variant"), OTHER_CAPTIONERS)
def test_every_family_is_searched(family: str, variant: str, tmp_path: Path) -> None:
    from edgecap.quant.search.search import search

    made = Tiny(family, variant, tmp_path / family)
    result = search(
        made.subject, made.plan, made.captions, lambda: SameCaptions(made.captions), 100.0
    )
    assert result.chosen.plan == made.plan and len(result.points) == 2
    widest = result.candidates[-1].kinds
    assert "w8a8" not in {widest[name] for name in result.sensitivity}
    assert with_kinds(made.plan, widest).layers.keys() == made.plan.layers.keys()
