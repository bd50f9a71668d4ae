"""Every family of the registry against transformers' own generate, in PyTorch."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Any

import numpy as np
import pytest
import torch
from host_loop import LOGITS, NEW_TOKENS, eager, greedy, model_input, prompts, random_inputs
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.pytorch_utils import Conv1D

from edgecap.bundle.interface import interface_from_json
from edgecap.core import typed
from edgecap.models.adapter import Limits


def unsayable(adapter: Any) -> set[int]:
    """Image tokens: transformers stops where a random model says one."""
    return {getattr(adapter.model.config, "image_token_id", None)} - {None}


@pytest.mark.parametrize(
    "cache", [True, pytest.param(False, marks=pytest.mark.full)], ids=["cache", "no-cache"]
)
@pytest.mark.parametrize("ban", [0, 4], ids=["plain", "banned"])
def test_greedy_ids_are_those_of_generate(captioner: Any, ban: int, cache: bool) -> None:
    adapter = captioner.adapter
    image, end = model_input(adapter), adapter.generation.end
    for prompt in prompts(adapter).values():
        banned = unsayable(adapter)
        if ban:
            # Random models repeat themselves; without their favourites they say something else.
            plain, _ = greedy(captioner.eager, adapter.interface, image, prompt, end)
            banned |= set(plain[-ban:])
        expected = adapter.reference([image], prompt, Limits(NEW_TOKENS, tuple(banned), cache))
        ids, _ = greedy(captioner.eager, adapter.interface, image, prompt, end, tuple(banned))
        assert [ids] == expected
        assert not set(ids) & banned


class Record(LogitsProcessor):
    """Keeps the scores that generate chooses from."""

    def __init__(self) -> None:
        self.scores: list[np.ndarray] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.scores.append(scores[0].numpy().copy())
        return scores


def test_logits_are_those_of_generate(captioner: Any) -> None:
    adapter, record = captioner.adapter, Record()
    image = model_input(adapter, seed=5)
    prompt = next(iter(adapter.generation.prompts.values()))
    with torch.no_grad():
        adapter.answer(
            image,
            list(prompt),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            repetition_penalty=1.0,  # which would be in the recorded scores
            logits_processor=LogitsProcessorList([record]),
        )
    _, scores = greedy(captioner.eager, adapter.interface, image, prompt, adapter.generation.end)
    expected = np.stack(record.scores)[: len(scores)]
    assert expected.std() > 0.05
    assert np.abs(scores - expected).max() <= LOGITS


def test_a_step_copies_no_image_rows(captioner: Any) -> None:
    """Per layer, image rows go into one product with the queries and one with the weights."""
    adapter = captioner.adapter
    decode = next(f for f in adapter.functions() if f.name == "decode")
    inputs = random_inputs(adapter.interface, "decode", 2)
    with torch.no_grad():
        program = torch.export.export(
            decode.module, tuple(torch.from_numpy(value) for value in inputs.values())
        )
    names = [node for node in program.graph.nodes if node.op == "placeholder"]
    named = dict(zip(inputs, names[-len(inputs) :], strict=True))
    views = {"transpose.int", "permute.default", "unsqueeze.default", "view.default"}
    views |= {"expand.default", "reshape.default", "alias.default", "slice.Tensor"}
    rows = [e for e in adapter.interface.entries("image") if e.kind in ("key", "value")]
    for entry in rows:
        uses, seen = [named[entry.name]], set()
        while uses:
            node = uses.pop()
            for user in node.users:
                name = str(user.target).removeprefix("aten.")
                seen.add(name)
                uses += [user] if name in views else []
        assert not {name for name in seen if name.startswith(("cat", "slice", "clone"))}
        assert any("matmul" in name or "bmm" in name or "attention" in name for name in seen)


def test_the_interface_survives_json(case: Any) -> None:
    interface = case.adapter.interface
    assert interface_from_json(typed.parse(typed.dump(interface), "interface")) == interface


def test_paths_that_the_quantiser_is_told_exist(case: Any) -> None:
    quant, modules = case.adapter.quant, dict(case.adapter.model.named_modules())
    for first, second in quant.tied:
        assert modules[first].weight is modules[second].weight
        assert isinstance(modules[first], torch.nn.Embedding)
    assert quant.keep
    for path, keep in quant.keep.items():
        assert [name for name in modules if fnmatch(name, path)], path
        assert keep.kind in ("float", "weights")


def test_a_norm_is_read_by_the_linears_it_is_said_to_be_read_by(case: Any) -> None:
    """Whatever moves from a norm's scale into their weights, nothing changes."""
    rows = case.adapter.interface.dims.get("T")
    adapter = type(case.adapter)(case.adapter.checkpoint, rows)
    run, interface = eager(adapter), adapter.interface
    inputs = {spec.name: random_inputs(interface, spec.name, 1) for spec in interface.functions}
    before = {name: run(name, values) for name, values in inputs.items()}
    modules = dict(adapter.model.named_modules())
    assert adapter.quant.smoothing or adapter.name == "florence2"
    with torch.no_grad():
        for norm, linears in adapter.quant.smoothing:
            scale = torch.rand_like(modules[norm].weight) + 0.5  # [D]
            modules[norm].weight *= scale
            if getattr(modules[norm], "bias", None) is not None:
                modules[norm].bias *= scale
            for linear in linears:
                transposed = isinstance(modules[linear], Conv1D)  # [in,out]
                modules[linear].weight /= scale[:, None] if transposed else scale
    for name, values in inputs.items():
        for key, found in run(name, values).items():
            assert np.abs(found - before[name][key]).max() <= LOGITS
