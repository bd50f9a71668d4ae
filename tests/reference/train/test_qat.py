"""Rounding is learned, exports compute what was learned, and a killed run goes on."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_quant import network

from edgecap.cli.app import main
from edgecap.core.errors import InputError
from edgecap.quant.learned import SPEED, LearnedScales
from edgecap.quant.params import QuantParams
from edgecap.quant.plan import Activations, Layer, Plan, fingerprint, read_plan, write_plan
from edgecap.quant.rounding import rows
from edgecap.quant.samples import CalibrationSpec
from edgecap.quant.simulate import Rounding
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.extension import Extension
from edgecap.reference.model import weights
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.quant import layer_weights, on_grid, simulate, smooth
from edgecap.reference.scenes import sprites
from edgecap.reference.tokens import ID, LANGUAGES
from edgecap.reference.train import extend_vocabulary, log, loop, qat
from edgecap.reference.train.checkpoint import NAME
from edgecap.reference.train.config import TrainConfig
from edgecap.reference.train.data import SceneBatches
from edgecap.reference.train.distil import Distillation, Teacher
from edgecap.reference.train.log import read_log
from edgecap.reference.train.optimisers import Optimisers
from edgecap.runtime.backends.onnx import session_options

TINY = CaptionerConfig(width=32, layers=1, heads=2, embedding=16)
STEPS = 3


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "EVERY", 1)
        patch.setattr(loop, "SAVE_EVERY_S", -1)
        yield


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    weights.save(network(TINY), path, {"steps": 1})
    return path


def spec(given: Path, out: Path) -> qat.QatSpec:
    return qat.QatSpec(
        out=out,
        model=str(given),
        images=STEPS * qat.BATCH,
        compile_=False,
        calibration=CalibrationSpec(images=16),
    )


@pytest.fixture(scope="module")
def tuned(given: Path, tmp_path_factory: pytest.TempPathFactory) -> qat.Tuned:
    return qat.tune(spec(given, tmp_path_factory.mktemp("qat") / "run"))


def distillation(given: Path, plan: Plan) -> tuple[CaptionModel, Distillation]:
    model = weights.load(given)
    student = smooth(model, plan.smoothing).requires_grad_(True)
    return student, Distillation(student, replace(plan, smoothing={}), Teacher(model))


def test_weights_and_plan_belong_together(tuned: qat.Tuned, given: Path) -> None:
    plan = read_plan(tuned.plan)
    assert plan.weights == fingerprint(tuned.weights) and plan.model == tuned.weights.stem
    assert plan.precision == "w8a8" and plan.smoothing == {}
    assert plan.calibration.observer == "learned"
    first = read_plan(tuned.plan.parent / qat.START)
    assert first.weights == fingerprint(given) and first.smoothing
    assert plan.layers["blocks.0.qkv"] != first.layers["blocks.0.qkv"]
    facts = weights.facts(tuned.weights)
    assert facts["steps"] == 1 and facts["qat"]["size"] == "tiny"
    rows_ = read_log(tuned.plan.parent / "log.jsonl")
    assert [row["step"] for row in rows_] == [1, 2, 3]
    assert {"word_loss", "embedding_loss", "state_loss"} <= rows_[0].keys()


def test_learned_languages_are_kept_and_taught(given: Path, tmp_path: Path) -> None:
    before = Extension().with_language("nl").with_language("sv")
    knows = extend_vocabulary.extend(before, "ko", ["빨간 원 한 개.", "파란 원 두 개."])
    model, first = (
        extend_vocabulary.resize_embeddings(weights.load(given), before, knows),
        tmp_path / "knows.safetensors",
    )
    weights.save(model, first, {}, knows)
    said: list[str] = []
    short = replace(spec(first, tmp_path / "run"), images=qat.BATCH)
    tuned = qat.tune(short, notify=said.append)
    assert weights.extension(tuned.weights) == knows
    assert any("described in sv" in text for text in said)
    run = TrainConfig.from_dict(weights.facts(tuned.weights)["qat"])
    assert run.stages[0].languages == (*LANGUAGES, "nl", "ko")
    tokens = SceneBatches(run)[0].tokens
    assert ID["<nl>"] in tokens and (tokens >= TINY.vocabulary).any()  # Dutch, Korean's own tokens


@pytest.mark.full
def test_a_killed_run_resumed_equals_an_uninterrupted_one(
    tuned: qat.Tuned, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Optimisers.step

    def die(self: Optimisers, number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt
        step(self, number)

    cut = spec(given, tmp_path / "cut")
    with monkeypatch.context() as killed:
        killed.setattr(Optimisers, "step", die)
        with pytest.raises(KeyboardInterrupt):
            qat.tune(cut)
    assert not (tmp_path / "cut" / "plan.json").exists()
    resumed = qat.tune(cut, resume=True)
    ours = weights.load(resumed.weights).state_dict()
    for name, tensor in weights.load(tuned.weights).state_dict().items():
        assert torch.equal(ours[name], tensor), name
    assert read_plan(resumed.plan).layers == read_plan(tuned.plan).layers
    assert resumed.after == tuned.after


def test_what_is_trained_is_what_is_saved(given: Path, tuned: qat.Tuned, tmp_path: Path) -> None:
    """The rounding of the training step, and that of the files that come out of it."""
    student, objective = distillation(given, read_plan(tuned.plan.parent / qat.START))
    with torch.no_grad():
        objective.scales.growth.uniform_(-0.01, 0.01)
    start = replace(read_plan(tuned.plan.parent / qat.START), smoothing={})
    path = tmp_path / "saved.safetensors"
    weights.save(on_grid(student, start), path, {})
    saved, plan = weights.load(path), objective.scales.settled(start)
    trained = layer_weights(student)
    for name, weight in layer_weights(saved).items():
        integers, scale = rows(weight.numpy())
        wanted, wanted_scale = rows(trained[name].detach().numpy())
        assert np.array_equal(integers, wanted), name
        np.testing.assert_allclose(scale, wanted_scale, rtol=1e-3)  # float16
        np.testing.assert_allclose(
            weight.numpy(), integers * scale[:, None], atol=1e-3 * scale.max() * 127
        )
    exact = on_grid(student, start)
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8))
    with torch.inference_mode(), objective.rounded():
        a = objective.captioner.encode_image(image)[2]  # [1,E]
        b = simulate(exact, plan).encode_image(image)[2]  # [1,E]
    # The scales differ in their last bit, and a bit decides which way some numbers are rounded.
    torch.testing.assert_close(a, b, atol=5e-3, rtol=0)


@pytest.mark.full
def test_an_export_gives_what_the_simulation_gives(tuned: qat.Tuned, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    options = ["--precision", "w8a8", "--model", str(tuned.weights), "--plan", str(tuned.plan)]
    for target in ("onnx", "tflite"):
        out = tmp_path / target
        assert main(["export", "-f", target, *options, "-o", str(out), "--no-verify"]) == 0
    simulated = simulate(weights.load(tuned.weights), read_plan(tuned.plan))
    config, rng = simulated.config, np.random.default_rng(3)
    cache = (config.layers, 1, config.heads, config.context, config.head_width)
    token, position = np.array([[9]], np.int32), np.array([4], np.int32)
    keys, values = rng.standard_normal((2, *cache)).astype(np.float32)
    with torch.inference_mode():
        given = map(torch.from_numpy, (token, position, keys, values))
        wanted = simulated.decode(*given)[0].numpy()  # [1,V]
    feed = {"token": token, "position": position}
    feed |= {f"k_{i}": rows for i, rows in enumerate(keys)}  # a tensor for each layer
    feed |= {f"v_{i}": rows for i, rows in enumerate(values)}
    session = onnxruntime.InferenceSession(
        str(tmp_path / "onnx" / "decode.onnx"), session_options(onnxruntime)
    )
    interpreter = Interpreter(str(tmp_path / "tflite" / "model.tflite"), num_threads=1)
    onnx_logits = session.run(["logits"], feed)[0]
    tflite_logits = interpreter.get_signature_runner("decode")(**feed)["logits"]
    for got in (onnx_logits, tflite_logits):
        np.testing.assert_allclose(got, wanted, atol=1e-3 * np.abs(wanted).max())


def test_scales_are_learned_as_lsq_says(tuned: qat.Tuned) -> None:
    """d/ds of s * round(x/s) is round(x/s) - x/s; where the grid clips, it is the bound."""
    plan, layer = read_plan(tuned.plan), "blocks.0.qkv"
    s = 0.5
    coarse = Activations(
        QuantParams(s, 0), QuantParams(127 * s, -1)
    )  # the output lies on its grid already
    how = Layer("w8a8", {"decode": coarse})
    scales = LearnedScales(replace(plan, layers={layer: how}))
    hook = Rounding(replace(plan, layers={layer: how}))
    x = torch.tensor([0.3, 2.7, -1.4, 1000.0]) * s  # [D], the last is clipped
    weight = 127 * torch.eye(4)  # [N,D], rows of scale 1
    hook.prepare({layer: weight}, scales.factors())
    y = hook.linear("decode", layer, x, weight)  # [N]
    assert (y / (127 * s)).tolist() == [0, 3, -1, 127]
    y.sum().backward()
    of_input, of_output = scales.growth.grad.tolist()  # type: ignore[union-attr]
    assert of_input == pytest.approx(SPEED * s * 127 * (-0.3 + 0.3 + 0.4 + 127), rel=1e-5)
    assert of_output == pytest.approx(0, abs=1e-2)


def test_learning_repairs_a_bad_plan(given: Path, tuned: qat.Tuned, tmp_path: Path) -> None:
    first = read_plan(tuned.plan.parent / qat.START)
    narrow = {
        name: replace(
            how,
            functions={
                f: replace(g, output=replace(g.output, scale=g.output.scale / 6))
                for f, g in how.functions.items()
            },
        )
        for name, how in first.layers.items()
    }
    student, objective = distillation(given, replace(first, layers=narrow))
    student.requires_grad_(False)  # the scales alone
    config = replace(spec(given, tmp_path).config("tiny"), adamw_rate=1e-2, warmup_steps=1)
    optimisers = Optimisers(objective, config)
    batch, seen = SceneBatches(config)[0], []
    for _ in range(12):
        means, _ = loop.learn(objective, batch, 1, objective.terms(batch, config))
        optimisers.step(1)
        seen.append(float(means["state"]))
    assert seen[-1] < 0.8 * seen[0]
    assert objective.scales.growth.mean() > 0


def test_what_cannot_begin_or_go_on_is_refused(
    given: Path, tuned: qat.Tuned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = tuned.plan.parent, tmp_path / "other.safetensors"
    weights.save(network(TINY, seed=5), other, {})
    layers = dict(list(read_plan(run / qat.START).layers.items())[1:])
    write_plan(replace(read_plan(run / qat.START), layers=layers), tmp_path / "short.json")
    trained = tmp_path / "trained"
    trained.mkdir()
    shutil.copy(run / NAME, trained / NAME)
    cases = {
        "train.exists": ["-o", run],
        "qat.resume": ["-o", tmp_path / "none", "--resume"],
        "plan.weights": ["-o", tmp_path / "a", "--plan", tuned.plan],
        "plan.layers": ["-o", tmp_path / "b", "--plan", tmp_path / "short.json"],
        "plan.missing": ["-o", tmp_path / "c", "--plan", tmp_path / "nothing.json"],
        "qat.start": ["-o", run, "--resume", "--seed", 3],
        "qat.length": ["-o", tmp_path / "d", "--images", 64, "--minutes", 3],
        "weights.missing": ["-o", tmp_path / "e", "--model", tmp_path / "no.safetensors"],
        "observer.unknown": ["-o", tmp_path / "f", "--observer", "best"],
        "plan.conflict": ["-o", tmp_path / "g", "--observer", "mse", "--plan", tuned.plan],
    }
    rows = [*cases.items()]
    rows += [("qat.minutes", ["-o", tmp_path / "h", "--minutes", n]) for n in ("nan", "inf", 0, -3)]
    for code, options in rows:
        arguments = ["qat", "--model", given, *options]
        assert main([str(argument) for argument in arguments]) == 2
        assert f"[{code}]" in capsys.readouterr().err, code
    for arguments in (["-o", run, "--model", other], ["-o", trained, "--model", given]):
        assert main(["qat", "--resume", *map(str, arguments)]) == 2
        assert "[qat.resume]" in capsys.readouterr().err
    assert main(["train", "--resume", "--no-compile", "-o", str(run)]) == 2
    assert "[train.resume]" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_too_few_minutes_are_refused_with_what_a_step_takes(given: Path, tmp_path: Path) -> None:
    short = replace(spec(given, tmp_path / "run"), minutes=0.001)
    with pytest.raises(InputError, match="a step takes") as caught:
        qat.tune(short)
    assert caught.value.code == "qat.minutes"


def test_the_command_says_what_was_gained(
    tuned: qat.Tuned,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(qat, "tune", lambda spec, resume, notify: asked.append(spec) or tuned)
    out, figures = tuned.plan.parent, tmp_path / "figures.json"
    options = ["--images", "160", "--seed", "7", "--threads", "1", "--json", str(figures)]
    assert main(["qat", "-o", str(out), *options]) == 0
    assert asked == [qat.QatSpec(out=out, images=160, seed=7)]
    said = capsys.readouterr().out
    assert "next token as in float" in said and "tiny-qat.safetensors" in said
    told = json.loads(figures.read_text())
    assert told["before"]["top1"] == tuned.before.top1 and told["plan"] == str(tuned.plan)
    assert (out / "log.png").read_bytes().startswith(b"\x89PNG") and "log.png" in said
    (tmp_path / "log.jsonl").write_text("")  # a run of a few steps
    assert main(["qat", "-o", str(tmp_path), "--observer", "mse"]) == 0
    assert asked[1] == qat.QatSpec(out=tmp_path, calibration=CalibrationSpec(observer="mse"))
    assert "log.png" not in capsys.readouterr().out and not (tmp_path / "log.png").exists()


def test_a_missing_plotter_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[qat.QatSpec] = []
    monkeypatch.setattr(qat, "tune", lambda spec, *_: begun.append(spec))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["qat", "-o", str(tmp_path / "run")]) == 2
    assert "[package.missing] matplotlib" in capsys.readouterr().err
    assert begun == []


def test_without_the_font_it_says_so_at_once(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise InputError("scenes.font", "not installed.")

    monkeypatch.setattr(sprites, "_font", missing)
    for kept in vars(sprites).values():
        if hasattr(kept, "cache_clear"):
            kept.cache_clear()
    with pytest.raises(InputError, match="not installed"):
        qat.tune(spec(given, tmp_path / "run"))
    assert not (tmp_path / "run").exists()
