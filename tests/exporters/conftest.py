"""A tiny captioner with random weights, its float32 conversions and a w8 plan, made once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from tiny_export import SHALLOW, write_weights

from edgecap.exporters.contract import functions
from edgecap.exporters.onnx import convert as to_onnx
from edgecap.exporters.onnx.convert import Traced
from edgecap.exporters.onnx.parameters import Parameters
from edgecap.exporters.quiet import quiet
from edgecap.exporters.tflite import convert as to_tflite
from edgecap.exporters.treatment import PlanLookup
from edgecap.quant.calibration_set import collect_calibration
from edgecap.quant.plan import Plan, fingerprint
from edgecap.quant.samples import CalibrationSpec
from edgecap.reference.model import weights
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.model.session import TorchSession, reference_captioner
from edgecap.reference.quant import ReferenceSubject, calibrate, smooth


@dataclass(frozen=True)
class Converted:
    """Inputs of `write`."""

    model: CaptionModel  # smoothed as the plan says
    plan: Plan
    w8: PlanLookup
    onnx: Traced
    tflite: bytes


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file."""
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="session")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of one layer: for tests of the way to a bundle, and not of its graphs."""
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors", SHALLOW)


@pytest.fixture(scope="session")
def converted(tiny: Path) -> Converted:
    network, spec = weights.load(tiny), CalibrationSpec(images=16)
    calibration_set = collect_calibration(
        reference_captioner(TorchSession(network)), spec.model_inputs(network.config.image_size)
    )
    plan = calibrate(
        network, calibration_set, spec, model="tiny", weights=fingerprint(tiny), precision="w8"
    )
    model = smooth(network, plan.smoothing)
    with quiet():
        return Converted(
            model,
            plan,
            PlanLookup(plan, ReferenceSubject(model)),
            to_onnx.convert(functions(model, attention=True, by_element=False), Parameters(model)),
            to_tflite.convert(functions(model, attention=True, by_element=True)),
        )
