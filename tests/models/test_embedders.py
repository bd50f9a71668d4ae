"""Families that embed: the same vectors as transformers', for images and texts of any length."""

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

CLOSE = 1e-5


def test_image_embeddings_are_transformers_own(exported_embedder: Any) -> None:
    adapter = exported_embedder.adapter
    images = image_of(adapter.interface, 3)
    expected = adapter.reference_images(images)
    for run in (exported_embedder.eager, exported_embedder.onnx()):
        made = run("encode", {"image": images})["image_embedding"]
        assert np.abs(made - expected).max() <= CLOSE
        assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=CLOSE)


def test_text_embeddings_are_transformers_own(exported_embedder: Any) -> None:
    """Short and full texts, whatever stands behind them."""
    adapter, N = exported_embedder.adapter, exported_embedder.adapter.interface.dims["N"]
    rng = np.random.default_rng(2)
    texts = [[*rng.integers(4, 50, n - 1).tolist(), END] for n in (2, 7, N)]
    expected = adapter.reference_texts(texts)
    tokens = rng.integers(4, 50, (len(texts), N)).astype(np.int32)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = text
    length = np.array([len(text) for text in texts], np.int32)
    for run in (exported_embedder.eager, exported_embedder.onnx()):
        made = run("encode_text", {"tokens": tokens, "length": length})["text_embedding"]
        assert np.abs(made - expected).max() <= CLOSE
    assert np.abs(expected[0] - expected[1]).max() > 0.01


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
