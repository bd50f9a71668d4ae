"""Calibration: which images, which grids, and what a rounded captioner does."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_quant import network

from edgecap.core.errors import InputError
from edgecap.quant.agreement import compare
from edgecap.quant.calibration_set import last_sentence
from edgecap.quant.plan import Layer, Plan
from edgecap.quant.rounding import rows
from edgecap.quant.samples import LEAST, CalibrationSpec
from edgecap.quant.simulate import Rounding, integer_rows, row_scales
from edgecap.reference.quant import HEAD, calibrate, hooked, layer_weights, simulate, smooth

WIDE = {HEAD: "w8", "patch": "w8_dequant", "image_embedding": "w8", "text_embedding": "w8"}


def images(directory: Path, count: int) -> Path:
    directory.mkdir()
    for i in range(count):
        Image.new("RGB", (40 + i, 30), (i, 0, 0)).save(directory / f"{i:02d}.png")
    return directory


def kept(plan: Plan, kind: str, *names: str) -> Plan:
    return replace(plan, layers=plan.layers | {name: Layer(kind, {}) for name in names})


def test_every_layer_has_grids_in_the_functions_that_run_it(tiny: Any) -> None:
    plan = tiny.plan
    assert plan.layers.keys() == layer_weights(tiny.model).keys()
    assert {n: layer.kind for n, layer in plan.layers.items() if layer.kind != "w8a8"} == WIDE
    assert plan.layers["blocks.1.mlp_out"].functions.keys() == {
        "encode_image",
        "decode",
        "encode_text",
    }
    assert plan.calibration.images == len(tiny.calibration_set.model_inputs) == 16


def test_w8_keeps_what_no_grid_of_one_call_suits(tiny: Any) -> None:
    spec = CalibrationSpec(images=16)
    plan = calibrate(
        tiny.model, tiny.calibration_set, spec, model="tiny", weights="0" * 64, precision="w8"
    )
    floats = {name for name, layer in plan.layers.items() if layer.kind == "w8_dequant"}
    assert floats == {"patch"} | {
        f"blocks.{i}.{n}" for i in (0, 1) for n in ("attention_out", "mlp_out")
    }
    assert plan.precision == "w8"


def test_calibration_is_the_same_every_time(tiny: Any) -> None:
    spec = CalibrationSpec(images=16)
    again = calibrate(
        tiny.model, tiny.calibration_set, spec, model="tiny", weights="0" * 64, precision="w8a8"
    )
    assert again == tiny.plan


def test_observers_and_kept_layers_reach_the_plan(tiny: Any) -> None:
    spec = CalibrationSpec(images=16, observer="mse")
    plan = calibrate(
        tiny.model,
        tiny.calibration_set,
        spec,
        model="tiny",
        weights="0" * 64,
        precision="w8a8",
        keep={"blocks.0.mlp_out": "w8", HEAD: "fp32"},
    )
    assert plan.precision == "mixed"
    assert plan.layers["blocks.0.mlp_out"] == Layer("w8", {})
    assert plan.calibration.observer == "mse"
    mine = plan.layers["blocks.0.qkv"].functions["decode"].input
    assert mine.scale <= tiny.plan.layers["blocks.0.qkv"].functions["decode"].input.scale


def test_a_tapped_captioner_computes_the_same(tiny: Any) -> None:
    class Nothing:
        def __init__(self) -> None:
            self.calls: list[tuple[str, str]] = []

        def linear(self, function: str, layer: str, x: Any, weight: Any) -> Any:
            self.calls.append((function, layer))
            return torch.nn.functional.linear(x, weight)

        def stored(self, layer: str, weight: Any) -> Any:
            return weight

    hook = Nothing()
    tapped = hooked(tiny.model, hook)
    assert tapped.state_dict().keys() == tiny.model.state_dict().keys()
    same = compare(tiny.model, tapped, tiny.calibration_set)
    assert same.top1 == 1 and same.divergence == 0
    assert set(hook.calls) >= {("encode_image", "patch"), ("decode", HEAD)}
    assert ("encode_text", "text_embedding") in hook.calls
    token, position = torch.ones(1, 1, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    cache = torch.zeros(2, 1, 2, tiny.model.config.context, 32)
    hook.calls.clear()
    wanted = tiny.model.decode(token, position, cache, cache)[0]
    assert torch.equal(tapped.decode(token, position, cache, cache)[0], wanted)
    assert {function for function, _ in hook.calls} == {"decode"}


def test_rounding_in_torch_is_that_of_the_exporters() -> None:
    torch.manual_seed(1)
    weight = torch.randn(200, 300)
    weight[3] = 0
    quantised, scale = rows(weight.numpy())
    assert np.array_equal(row_scales(weight).numpy(), scale)
    integers, unit = integer_rows(weight)
    assert np.array_equal(integers.numpy(), quantised) and np.array_equal(unit.numpy(), scale)


def test_a_wider_plan_lies_closer(tiny: Any) -> None:
    plan, every = tiny.plan, tuple(tiny.plan.layers)
    far = compare(tiny.model, simulate(tiny.model, plan), tiny.calibration_set)
    near = compare(tiny.model, simulate(tiny.model, kept(plan, "w8", *every)), tiny.calibration_set)
    same = compare(
        tiny.model, simulate(tiny.model, kept(plan, "fp32", *every)), tiny.calibration_set
    )
    assert 1e-7 < near.divergence < far.divergence < 0.1
    assert same.divergence < near.divergence / 100  # rounding of float32
    assert far.cosine > 0.95


def test_gradients_pass_through_the_rounding(tiny: Any) -> None:
    model = copy.deepcopy(tiny.model).requires_grad_(True)
    rounded = hooked(smooth(model, tiny.plan.smoothing), Rounding(tiny.plan))
    keys, values, _ = rounded.forward_image(torch.from_numpy(tiny.calibration_set.model_inputs[:1]))
    tokens = torch.tensor([tiny.calibration_set.captions[0]])
    rounded.logits(rounded.forward_text(tokens, keys, values)).logsumexp(-1).sum().backward()
    for name, weight in layer_weights(rounded).items():
        if "embedding" not in name:
            assert weight.grad is not None and weight.grad.abs().sum() > 0, name


def test_smoothing_changes_nothing_in_float(tiny: Any) -> None:
    smoothed = smooth(tiny.model, tiny.plan.smoothing)
    assert not torch.equal(smoothed.blocks[0].qkv.weight, tiny.model.blocks[0].qkv.weight)
    same = compare(tiny.model, smoothed, tiny.calibration_set)
    assert same.divergence < 1e-8  # float32 rounds by another order on every CPU: up to 4e-9 seen
    assert same.cosine > 0.99999


def test_a_plan_for_another_model_is_refused(tiny: Any) -> None:
    other = network(replace(tiny.model.config, layers=1))
    with pytest.raises(InputError) as caught:
        simulate(other, tiny.plan)
    assert caught.value.code == "plan.layers"


def test_own_images_are_chosen_by_the_seed(tmp_path: Path) -> None:
    directory = images(tmp_path / "mine", LEAST + 4)
    (directory / ".hidden").write_text("not looked at")
    first = CalibrationSpec(directory, LEAST).model_inputs(224)
    assert first.shape == (LEAST, 224, 224, 3) and first.dtype == np.uint8
    assert np.array_equal(first, CalibrationSpec(directory, LEAST).model_inputs(224))
    assert not np.array_equal(first, CalibrationSpec(directory, LEAST, seed=1).model_inputs(224))


def test_images_in_folders_below_count_and_other_files_do_not(tmp_path: Path) -> None:
    own = images(tmp_path / "own", 1)
    images(own / "journey", LEAST - 1)
    (own / "notes.txt").write_text("of the journey")
    assert len(CalibrationSpec(own, LEAST).model_inputs(224)) == LEAST
    with pytest.raises(InputError, match=f"has {LEAST} images"):
        CalibrationSpec(own, LEAST + 1).check()


def test_bad_images_are_refused(tmp_path: Path) -> None:
    directory = images(tmp_path / "few", 3)
    cases = {
        "calibration.too_few": CalibrationSpec(directory, LEAST),
        "calibration.data": CalibrationSpec(tmp_path / "none", LEAST),
        "calibration.number": CalibrationSpec(images=3),
        "observer.unknown": CalibrationSpec(observer="best"),
    }
    for code, spec in cases.items():
        with pytest.raises(InputError) as caught:
            spec.check()
        assert caught.value.code == code
    with pytest.raises(InputError, match="129 were requested"):
        CalibrationSpec(images=129).check()
    broken = images(tmp_path / "broken", LEAST)
    (broken / "00.png").write_bytes(b"no image")
    with pytest.raises(InputError) as caught:
        CalibrationSpec(broken, LEAST).model_inputs(224)
    assert caught.value.code == "image.unreadable"
    assert "00.png" in caught.value.message


def test_statements_are_taken_from_captions_alone() -> None:
    stop, other = 9, 8
    two = [1, 2, stop, 3, 4, stop]
    assert last_sentence(two, {stop, other}) == [3, 4, stop]
    assert last_sentence([1, other, *two[:-1]], {stop, other}) == [3, 4]  # cut by the length
    for whole in ([1, 2, stop], [1, 2], []):
        assert last_sentence(whole, {stop}) == whole
