"""The images that a checkpoint is calibrated and compared on, and the outputs of PyTorch for them.

Letters: N images, n tokens of a caption, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.bundle.image_spec import ImageSpec
from edgecap.core.errors import InputError
from edgecap.core.progress import progress
from edgecap.exporters.parity.words import ModelOutputs
from edgecap.quant.samples import CalibrationSpec
from edgecap.runtime.image_processing import ModelInput, process

if TYPE_CHECKING:
    from edgecap.models.adapter import Adapter


def gate_images(
    calibration: CalibrationSpec, count: int, image: ImageSpec
) -> tuple[ModelInput, ...]:
    """The N images that the gate looks at.

    The user's own images, those first that calibration does not see; or what ships for the gate.
    """
    sources: Sequence[Any]
    if calibration.data is not None:
        every = calibration.shuffled()
        sources = [*every[calibration.images :], *every[: calibration.images]][:count]
        if not sources:
            raise InputError("export.images", f"{calibration.data} has no image.")
    else:
        from edgecap.reference.scenes.shipped import load_set

        sources = [pixels for pixels, _ in load_set("gate", count)]
    return model_inputs(sources, image)


def model_inputs(sources: Sequence[Any], image: ImageSpec) -> tuple[ModelInput, ...]:
    """Images processed up to scaling."""
    return tuple(process(source, image) for source in sources)


def reference_outputs(
    adapter: Adapter, prompts: Mapping[str, GenerationSpec], images: tuple[ModelInput, ...]
) -> ModelOutputs:
    """PyTorch's outputs: captions as transformers generates them, and the logits along them."""
    import torch

    from edgecap.exporters.eager import Eager
    from edgecap.exporters.parity.words import forced_logits
    from edgecap.models.adapter import Limits
    from edgecap.runtime.graphs import Graphs

    graphs = Graphs(Eager(adapter.functions()), adapter.interface)
    captions: list[list[int]] = []
    rows: list[np.ndarray] = []
    embeddings: list[np.ndarray] = []
    prompt = next(iter(prompts), None)
    for image in progress(images, "captioning with PyTorch"):
        if prompt is not None:
            settings = prompts[prompt]
            limits = Limits(settings.max_new_tokens, shipped=True)
            (ids,) = adapter.reference([image], settings.begin, limits)
            captions.append(ids)
            rows.append(forced_logits(graphs, image, settings, ids))  # [n,V]
        if "image_embedding" in adapter.interface.function("encode").outputs:
            embeddings.append(graphs.encode_inputs([image])["image_embedding"])
    return ModelOutputs(
        f"torch {torch.__version__} fp32",
        prompt,
        images,
        captions,
        np.concatenate(rows) if rows else np.zeros((0, 1), np.float32),
        np.concatenate(embeddings) if embeddings else None,
    )
