"""Every function of a written bundle against PyTorch, on the same inputs of all its tensors.

Converters lie: litert-torch 0.10 converts attention with one key/value head wrongly, and reports
nothing. Random inputs show that in float. Fixed grids are made for real inputs, so w8a8 is
compared on an image and the first step of its caption, with the simulation of the same plan.

Letters: h and w the image's height and width in px.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecap.bundle.interface import ENCODE, ENCODE_CROP
from edgecap.bundle.io import open_bundle
from edgecap.core.errors import GateError
from edgecap.core.formats import FORMATS, STATIC_PRECISIONS
from edgecap.exporters.parity.words import BOUNDS

if TYPE_CHECKING:
    from edgecap.exporters.rounded import Rounded
    from edgecap.models.adapter import Adapter

CLOSE = 1e-3  # spreads of an output: a converted function is the same function
# The same, of the mean difference from the simulation: engines round the inputs of w8 layers
# differently, and float16 moves a value across a step of its grid. A wrong graph is off by 1.
STATIC = 0.1


def compare_functions(
    adapter: Adapter,
    directory: Path,
    allowed: float | None = None,
    rounded: Rounded | None = None,
) -> None:
    """GateError names the function, the output and its worst element.

    Args:
        allowed: the largest difference, in spreads of an output; None: what the precision may cost.
        rounded: how an int8 bundle was rounded.
    """
    from edgecap.exporters.eager import Eager
    from edgecap.exporters.examples import example_inputs
    from edgecap.runtime.backends import open_functions

    opened = open_bundle(directory)
    precision, interface = opened.manifest.precision, adapter.interface
    session = open_functions(opened, FORMATS[opened.manifest.format].gate)
    eager = Eager(adapter.functions())
    static = precision in STATIC_PRECISIONS and rounded is not None
    reference = Eager(rounded.simulated()) if static and rounded is not None else eager
    allowed = allowed or (CLOSE if precision == "fp32" else BOUNDS[precision].logits)
    encoded: dict[str, np.ndarray] = {}
    for function in adapter.functions():
        inputs = {
            name: value.numpy() for name, value in example_inputs(function, interface, 1).items()
        }
        if static:
            inputs = _first_step(inputs, encoded, {e.name for e in interface.entries("text")})
        expected, found = reference.run(function.name, inputs), session.run(function.name, inputs)
        if static and function.name in (ENCODE_CROP, ENCODE):
            encoded = eager.run(function.name, inputs)
        for name, value in expected.items():
            distance = np.abs(value - found[name].astype(np.float32))
            spread = max(float(value.std()), 1e-9)
            off = distance.mean() if static else distance.max()
            limit = (STATIC if static else allowed) * spread
            if not off <= limit:  # nan too
                worst = np.unravel_index(int(np.nanargmax(distance)), distance.shape)
                raise GateError(
                    "parity.converter",
                    f"{function.name} gives another {name} than PyTorch: "
                    f"{float(off):.3g} off{' on average, most' if static else ''} at "
                    f"{[int(i) for i in worst]}, {limit:.3g} allowed.",
                    "The converter changed the model: report it, or try another format.",
                )


def _first_step(
    inputs: dict[str, np.ndarray], encoded: dict[str, np.ndarray], text: set[str]
) -> dict[str, np.ndarray]:
    """Inputs that a caption has: a smooth image, or what encode made of it and no text yet."""
    step_inputs = inputs | {
        name: value.astype(inputs[name].dtype)  # PyTorch's are floats, a length too
        for name, value in encoded.items()
        if name in inputs
    }
    if "features" in inputs:  # encode takes n crops, and encode_crop makes one
        crop, n = encoded["features"][:, None], inputs["features"].shape[1]
        step_inputs["features"] = np.repeat(crop, n, 1)  # [B,n,F,D]
    step_inputs |= {
        name: np.zeros_like(step_inputs[name])
        for name in (*text, "position")
        if name in step_inputs
    }
    if "image" in step_inputs:
        _, h, w, _ = step_inputs["image"].shape
        shade = np.linspace(0, 255, h * w, dtype=np.float32).reshape(1, h, w, 1)
        step_inputs["image"] = np.broadcast_to(shade, step_inputs["image"].shape).astype(np.uint8)
    return step_inputs
