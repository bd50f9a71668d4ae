"""Families that embed: what they refuse, and cosines. Their vectors are in test_families_onnx."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from host_loop import image_of, model_input
from tiny_checkpoints import END

from edgecap.core.errors import UnsupportedError
from edgecap.models import registry
from edgecap.models.adapter import Limits


def test_an_embedder_does_not_caption(embedder: Any) -> None:
    with pytest.raises(UnsupportedError, match="does not caption"):
        embedder.adapter.reference([model_input(embedder.adapter)], (2,), Limits(3))


def test_a_text_longer_than_the_model_reads_is_refused(embedder: Any) -> None:
    too_long = embedder.adapter.interface.dims["N"] + 1
    with pytest.raises(UnsupportedError, match=f"{too_long} tokens|not {too_long}"):
        registry.load(embedder.adapter.checkpoint, too_long)


def test_a_cosine_becomes_the_logit_of_transformers(embedder: Any) -> None:
    adapter = embedder.adapter
    images, texts = image_of(adapter.interface, 2), [[5, 6, END], [7, END]]
    scale, bias = adapter.similarity()
    cosines = adapter.reference_texts(texts) @ adapter.reference_images(images).T  # [texts,images]
    for text, logits in zip(texts, cosines * scale + bias, strict=True):
        padding = adapter.interface.dims["N"] - len(text) if adapter.name == "siglip" else 0
        with torch.no_grad():
            output = adapter.model(
                input_ids=torch.tensor([text + [1] * padding]),
                pixel_values=adapter.pixels(images),
            )
        assert np.abs(output.logits_per_text[0].numpy() - logits).max() <= 1e-4
