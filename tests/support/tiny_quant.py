"""A tiny captioner with random weights, and a plan for it; made once per test session."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edgecap.quant.calibration_set import CalibrationSet, collect_calibration
from edgecap.quant.plan import Plan
from edgecap.quant.samples import CalibrationSpec
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.model.session import TorchSession, reference_captioner
from edgecap.reference.quant import calibrate

TINY = CaptionerConfig(width=64, layers=2, heads=2, embedding=32, text_length=24)


@dataclass(frozen=True)
class Calibrated:
    model: CaptionModel
    calibration_set: CalibrationSet
    plan: Plan


def network(config: CaptionerConfig = TINY, seed: int = 0) -> CaptionModel:
    """Random weights, with gains and biases as after training, in evaluation mode."""
    torch.manual_seed(seed)
    model = CaptionModel(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name == "pool":
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif parameter.ndim == 2:
                parameter.mul_(4)
    return model.eval().requires_grad_(False)


def calibrated() -> Calibrated:
    torch.set_num_threads(1)
    model = network()
    spec = CalibrationSpec(images=16)
    model_inputs = spec.model_inputs(model.config.image_size)
    calibration_set = collect_calibration(reference_captioner(TorchSession(model)), model_inputs)
    plan = calibrate(model, calibration_set, spec, model="tiny", weights="0" * 64, precision="w8a8")
    return Calibrated(model, calibration_set, plan)
