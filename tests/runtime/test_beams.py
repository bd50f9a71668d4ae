"""Beam search gives the sequences and scores of transformers' own generate(num_beams=…)."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from tiny_text_models import Stepper, bart, gpt2

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.runtime.beams import search
from edgecap.runtime.logits import apply_rules
from edgecap.runtime.rules import Rules

STOPPING = {"heuristic": False, "first": True, "never": "never"}


def compare(model: Any, spec: GenerationSpec, **inputs: torch.Tensor) -> None:
    """All finished sequences and their scores, against generate's."""
    begin = torch.tensor([spec.begin])
    options: dict[str, Any] = {
        "num_beams": spec.beams,
        "num_return_sequences": spec.beams,
        "max_new_tokens": spec.max_new_tokens,
        "min_new_tokens": spec.min_new_tokens,
        "length_penalty": spec.length_penalty,
        "early_stopping": STOPPING[spec.early_stopping],
        "eos_token_id": list(spec.eos),
        "pad_token_id": 0,
        "repetition_penalty": spec.repetition_penalty,
        "no_repeat_ngram_size": spec.no_repeat_ngram,
        "forced_bos_token_id": spec.forced_first,
        "forced_eos_token_id": list(spec.forced_last) or None,
        "suppress_tokens": list(spec.suppress) or None,
        "do_sample": False,
        "return_dict_in_generate": True,
        "output_scores": True,
    }
    if inputs:
        expected = model.generate(**inputs, decoder_input_ids=begin, **options)
    else:
        expected = model.generate(begin, attention_mask=torch.ones_like(begin), **options)
    stepper = Stepper(model, spec.begin, **inputs)
    got = search(Rules(spec), stepper.logits()[0], stepper.step)
    theirs = [row[len(spec.begin) :].tolist() for row in expected.sequences]
    for ours, row, score in zip(got, theirs, expected.sequences_scores.tolist(), strict=False):
        end = next((i + 1 for i, token in enumerate(row) if token in spec.eos), len(row))
        assert list(ours.tokens) == row[:end]
        assert ours.score == pytest.approx(score, rel=1e-5, abs=1e-5)
    assert got


def name(spec: GenerationSpec) -> str:
    """What of a spec is not its default."""
    changed = [f.name for f in fields(spec) if getattr(spec, f.name) != f.default]
    return ", ".join(f"{field}={getattr(spec, field)}" for field in changed)


BASE = {"begin": (5, 3), "max_new_tokens": 12, "beams": 3}
SPECS = [
    GenerationSpec(eos=eos, length_penalty=penalty, early_stopping=stopping, **BASE)  # type: ignore[arg-type]
    for eos in ((1,), (1, 7, 9))
    for penalty in (-1.0, 0.0, 0.6, 1.0, 2.0)
    for stopping in STOPPING
] + [
    GenerationSpec(eos=(1, 7), **BASE | more)  # type: ignore[arg-type]
    for more in (
        {"no_repeat_ngram": 2},
        {"no_repeat_ngram": 3, "length_penalty": 2.0, "beams": 4},
        {"repetition_penalty": 1.7},
        {"min_new_tokens": 5},
        {"forced_last": (7,)},
        {"suppress": (2, 4, 1)},
        {"begin": (5,), "forced_first": 6, "no_repeat_ngram": 3},
        {"max_new_tokens": 1},
        {"beams": 8, "max_new_tokens": 20, "early_stopping": "first"},
    )
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_decoder_only(spec: GenerationSpec, seed: int) -> None:
    compare(gpt2(seed), spec)


@pytest.mark.parametrize("spec", SPECS[::3] + SPECS[-9:], ids=name)
def test_encoder_decoder(spec: GenerationSpec) -> None:
    # generate puts the start token first where it is missing.
    spec = replace(spec, begin=(2, *spec.begin[1:]))
    compare(bart(3), spec, input_ids=torch.tensor([[0, 11, 12, 13, 2]]))


@pytest.mark.parametrize("beams", [2, 3])
def test_enough_candidates_are_looked_at_where_many_ids_end(beams: int) -> None:
    """Four end ids far above all others: the open sequences come after 4 * beams candidates."""
    model = deepcopy(bart(3))
    model.final_logits_bias[0, [1, 7, 9, 30]] = 40.0
    spec = GenerationSpec(
        (2, 6), (1, 7, 9, 30), 6, beams=beams, length_penalty=3.0, early_stopping="never"
    )
    compare(model, spec, input_ids=torch.tensor([[0, 11, 12, 13, 2]]))


@pytest.mark.parametrize("seed", [0, 1])
def test_one_beam_is_greedy_decoding_under_the_rules(seed: int) -> None:
    spec = GenerationSpec((5, 3), (1, 7), 20, beams=1, no_repeat_ngram=2, repetition_penalty=1.2)
    model = gpt2(seed)
    begin = torch.tensor([spec.begin])
    expected = model.generate(
        begin,
        attention_mask=torch.ones_like(begin),
        max_new_tokens=20,
        eos_token_id=[1, 7],
        pad_token_id=0,
        no_repeat_ngram_size=2,
        repetition_penalty=1.2,
        do_sample=False,
    )[0, 2:].tolist()
    stepper = Stepper(model, spec.begin)
    logits, tokens = stepper.logits()[0], list[int]()
    while len(tokens) < spec.max_new_tokens and not {*tokens[-1:]} & {*spec.eos}:
        tokens.append(int(apply_rules(spec, logits, tokens).argmax()))
        logits = stepper.step(tokens[-1:], [0])[0]
    assert tokens == expected
