"""Every family of the registry in ONNX, against PyTorch and transformers' own generate.

Apart from test_families, so that two processes of `make test` share the work.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from host_loop import LOGITS, NEW_TOKENS, greedy, model_input, prompts, random_inputs

from edgecap.models.adapter import Limits


def test_onnx_is_eager_on_random_inputs(exported_case: Any) -> None:
    case = exported_case
    interface = case.adapter.interface
    for spec in interface.functions:
        inputs = random_inputs(interface, spec.name, batch=3)
        expected, made = case.eager(spec.name, inputs), case.onnx()(spec.name, inputs)
        assert list(made) == list(spec.outputs)
        for name, tensor in spec.outputs.items():
            assert made[name].shape == interface.sizes(tensor.shape, 3)
            assert made[name].dtype == tensor.dtype
            if tensor.dtype == "float32":
                assert expected[name].std(0).max() > 0.01, f"{name} does not depend on the inputs"
            assert np.abs(made[name] - expected[name]).max() <= LOGITS


def test_onnx_says_what_generate_says(exported_captioner: Any) -> None:
    adapter, run = exported_captioner.adapter, exported_captioner.onnx()
    image = model_input(adapter, seed=11)
    for prompt in prompts(adapter).values():
        expected = adapter.reference([image], prompt, Limits(NEW_TOKENS))
        ids, _ = greedy(run, adapter.interface, image, prompt, adapter.generation.end)
        assert [ids] == expected
