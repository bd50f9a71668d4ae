"""A plan in CoreML: the same grids and the same integers as in the other formats."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_quant import Calibrated, calibrated

from edgecap.core.errors import UnsupportedError
from edgecap.exporters.coreml import convert as to_coreml
from edgecap.exporters.coreml.options import CoremlOptions
from edgecap.exporters.quiet import quiet
from edgecap.exporters.spec import ExportSpec
from edgecap.mil.package import open_package
from edgecap.mil.program import Program
from edgecap.quant.plan import Layer
from edgecap.reference.quant import simulate, smooth

LAYERS = 2
NO_OPERATIONS = SimpleNamespace(operations=[])


@pytest.fixture(scope="module")
def made() -> Calibrated:
    """Patches stay float: w8 rounds their input here not at all, and in the simulation by row."""
    given = calibrated()
    layers = given.plan.layers | {"patch": Layer("fp32", {})}
    return replace(given, plan=replace(given.plan, layers=layers))


@pytest.fixture(scope="module")
def package(made: Calibrated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("w8a8")
    spec = ExportSpec(format="coreml", precision="w8a8", options=CoremlOptions(stateful=True))
    with quiet():
        to_coreml.export(smooth(made.model, made.plan.smoothing), spec, directory, made.plan)
    return directory / to_coreml.FILE


def test_rounding_in_float16_follows_the_simulation(made: Calibrated, package: Path) -> None:
    """Float16 sums round some numbers the other way, but far fewer than a grid of its own would."""
    image = np.random.default_rng(7).integers(0, 256, (1, 224, 224, 3)).astype(np.uint8)
    planes = {"image": image.transpose(0, 3, 1, 2).astype(np.float32)}  # [B,3,S,S]
    got = Program.open(package).function("encode_image").run(planes)["k"].astype(np.float32)
    with torch.inference_mode():
        wanted = simulate(made.model, made.plan).encode_image(torch.from_numpy(image))[0].numpy()
        exact = made.model.encode_image(torch.from_numpy(image))[0].numpy()  # [L,B,H,P,K]
    assert np.abs(got - wanted).mean() < 0.5 * np.abs(exact - wanted).mean()


def test_weights_are_integers_times_a_power_of_two(package: Path) -> None:
    opened = open_package(package)
    operations = opened.functions["decode"].block.operations
    packed = [op for op in operations if op.type == "constexpr_blockwise_shift_scale"]
    scales = [np.asarray(opened.array(op.inputs["scale"][0])) for op in packed]
    even = [scale for scale in scales if len(np.unique(scale)) == 1]
    assert len(even) == 4 * LAYERS  # the others: the token table
    assert all(np.frexp(scale.flat[0])[0] == 0.5 for scale in even)


def test_the_stateful_step_rounds_as_the_portable_one_does(package: Path) -> None:
    program = Program.open(package)
    plain, stateful = program.function("decode"), program.function("decode_stateful")
    rows = np.zeros((LAYERS, 1, 2, 196 + 24, 32), np.float16)  # [L,B,H,C,K]
    image = rows[:, :, :, :196]
    step = {"token": np.int32([[5]]), "position": np.int32([0])}
    want = plain.run(step | {"k": rows, "v": rows})
    got = stateful.run(step | {"k_image": image, "v_image": image}, stateful.make_state())
    assert np.abs(got["logits"] - want["logits"]).max() < 0.05
    operations = open_package(package).functions["decode_stateful"].block.operations
    marked = [op for op in operations if op.type == "quantize"]
    assert len(marked) == 2 * 4 * LAYERS  # the input and the output of each layer


@pytest.mark.full
def test_a_layer_that_a_plan_keeps_stays_float(
    made: Calibrated, package: Path, tmp_path: Path
) -> None:
    kept = {"blocks.0.mlp_out": Layer("fp32", {}), "blocks.1.qkv": Layer("w8", {})}
    mixed = replace(made.plan, layers=made.plan.layers | kept)
    spec = ExportSpec(format="coreml", precision="mixed")
    with quiet():
        to_coreml.export(smooth(made.model, mixed.smoothing), spec, tmp_path, mixed)

    def counts(path: Path, function: str) -> Counter[str]:
        operations = open_package(path).functions[function].block.operations
        return Counter(operation.type for operation in operations)

    for function in ("encode_image", "decode", "encode_text"):
        before, after = (counts(path, function) for path in (package, tmp_path / to_coreml.FILE))
        packed, marked = "constexpr_blockwise_shift_scale", "quantize"
        assert before[packed] - after[packed] == 1, function  # the fp32 one
        # The input and the output of both.
        assert before[marked] - after[marked] == 2 * 2, function


def test_a_kept_layer_that_is_not_found_is_not_quantised_silently(made: Calibrated) -> None:
    gone = replace(made.plan, layers=made.plan.layers | {"blocks.7.qkv": Layer("fp32", {})})
    program = SimpleNamespace(_mil_program=SimpleNamespace(functions={"main": NO_OPERATIONS}))
    with pytest.raises(UnsupportedError, match=r"blocks\.7\.qkv"):
        to_coreml._wide(program, to_coreml._reference_wide(gone))
