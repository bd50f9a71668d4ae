"""The first families in TFLite and CoreML, and one key/value head, which litert-torch 0.10 breaks.

Functions are compared on random inputs of all their tensors before a word is generated: attention
with one key/value head was converted wrongly without a message, and gave fluent nonsense.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from function_files import coreml_run, tflite_run
from host_loop import NEW_TOKENS, Run, greedy, model_input, random_inputs

from edgecap.models.adapter import Limits

CASES = [
    ("blip", "tiny"),
    pytest.param(("git", "tiny"), marks=pytest.mark.full),
    ("paligemma", "one-kv-head"),
]


@pytest.mark.parametrize("exported", [tflite_run, coreml_run], ids=["tflite", "coreml"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case))
def test_functions_and_ids_are_the_same(
    case: tuple[str, str],
    exported: Callable[[Any, Path], Run],
    tiny: Callable[[str, str], Any],
    tmp_path: Path,
) -> None:
    made = tiny(*case)
    adapter, interface = made.adapter, made.adapter.interface
    run = exported(adapter, tmp_path)
    for spec in interface.functions:
        inputs = random_inputs(interface, spec.name, batch=1)
        expected, found = made.eager(spec.name, inputs), run(spec.name, inputs)
        for name in spec.outputs:
            assert np.abs(found[name] - expected[name]).max() <= 1e-4
    image = model_input(adapter, seed=4)
    prompt = next(iter(adapter.generation.prompts.values()))
    expected_ids = adapter.reference([image], prompt, Limits(NEW_TOKENS))
    ids, _ = greedy(run, interface, image, prompt, adapter.generation.end)
    assert [ids] == expected_ids
