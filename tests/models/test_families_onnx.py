"""Every family of the registry in ONNX as users get it, against PyTorch and transformers.

Apart from test_families, so that two processes of `make test` share the work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from function_files import onnx_run
from host_loop import NEW_TOKENS, Run, greedy, image_of, model_input, prompts
from tiny_checkpoints import END

from edgecap.exporters.examples import example_inputs
from edgecap.models.adapter import Limits

# The largest error of an output in spreads of it, and the root of the mean square.
# fp16: weights are off by 2^-11 of themselves. w8: by 1/254 of a row's largest, and so are inputs.
BOUNDS = {"fp32": (1e-4, 1e-5), "fp16": (5e-3, 1.5e-3), "w8": (0.2, 0.04)}
CLOSE = 1e-5  # embeddings


def assert_eager(case: Any, run: Run, precision: str) -> None:
    interface, (largest, typical) = case.adapter.interface, BOUNDS[precision]
    for spec in interface.functions:
        for batch in (1, 3):
            examples = example_inputs(spec, interface, batch)
            inputs = {name: value.numpy() for name, value in examples.items()}
            expected, made = case.eager(spec.name, inputs), run(spec.name, inputs)
            assert list(made) == list(spec.outputs)
            for name, tensor in spec.outputs.items():
                value, where = expected[name], (spec.name, name, batch)
                assert made[name].shape == interface.sizes(tensor.shape, batch), where
                assert made[name].dtype == tensor.dtype, where
                if tensor.dtype == "int32":  # how many rows count
                    assert np.array_equal(made[name], value), where
                    continue
                if batch > 1:
                    assert value.std(0).max() > 0.01, f"{where} does not depend on the inputs"
                spread = value.std() if precision != "fp32" else min(value.std(), 1)
                error = (made[name] - value) / spread
                assert np.abs(error).max() <= largest, where
                assert np.sqrt(np.square(error).mean()) <= typical, where


def test_onnx_is_eager_on_random_inputs(exported_case: Any) -> None:
    assert_eager(exported_case, exported_case.onnx(), "fp32")


@pytest.mark.parametrize("precision", ["fp16", "w8"])
def test_narrow_weights_are_close(narrow_case: Any, precision: str, tmp_path: Path) -> None:
    places = narrow_case.graphs().write(tmp_path, precision)
    for name, place in places.items():
        spec = narrow_case.adapter.interface.function(name)
        assert place.file == f"{name}.onnx"
        assert place.inputs == {key: key for key in spec.inputs}
        assert place.outputs == {key: key for key in spec.outputs}
    assert_eager(narrow_case, onnx_run(tmp_path), precision)


def test_onnx_says_what_generate_says(exported_captioner: Any) -> None:
    adapter, run = exported_captioner.adapter, exported_captioner.onnx()
    image = model_input(adapter, seed=11)
    for prompt in prompts(adapter).values():
        expected = adapter.reference([image], prompt, Limits(NEW_TOKENS))
        ids, _ = greedy(run, adapter.interface, image, prompt, adapter.generation.end)
        assert [ids] == expected


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
