"""What a model says of an image or a text does not depend on what else is asked with it."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_onnx import write_bundle

from edgecap.core.formats import FORMATS
from edgecap.models.loading import load
from edgecap.runtime import Captioner

TEXTS = ["a dog", "two red circles and a cat", "un chien"]


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Captioner:
    path = tmp_path_factory.mktemp("w8") / "tiny-onnx-w8"
    write_bundle(path, verified=False, precision="w8")
    return load(path)


@pytest.fixture(scope="module")
def model_inputs() -> list[np.ndarray]:
    """Bright and dark: a scale of all of them is not the scale of each."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, high, (224, 224, 3), np.uint8) for high in (255, 128, 20)]


def test_dynamic_layers_do_not_see_the_company(
    captioner: Captioner, model_inputs: list[np.ndarray]
) -> None:
    together = captioner.caption(model_inputs)
    alone = [captioner.caption(one)[0] for one in model_inputs]
    assert [c.tokens for c in together] == [c.tokens for c in alone]
    assert len({c.tokens for c in together}) > 1  # the model looks at the image
    each = np.concatenate([captioner.embed_images(one) for one in model_inputs])
    assert (captioner.embed_images(model_inputs) == each).all()
    each = np.concatenate([captioner.embed_texts([text]) for text in TEXTS])
    assert (captioner.embed_texts(TEXTS) == each).all()


@pytest.mark.parametrize(
    ("format_", "precision", "batch"),
    [
        ("onnx", "fp32", None),
        ("onnx", "fp16", None),
        ("onnx", "w8a8", None),
        ("onnx", "w8", 1),
        ("onnx", "mixed", 1),
    ]
    + [("tflite", "fp32", 1), ("coreml", "fp16", 1)],
)
def test_an_export_says_how_many_a_call_may_take(
    format_: str, precision: str, batch: int | None
) -> None:
    assert FORMATS[format_].batch_at(precision) == batch
