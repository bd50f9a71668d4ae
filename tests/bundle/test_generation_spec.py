"""Generation settings in a manifest: read as written, nonsense refused by name."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from edgecap.bundle.generation_spec import (
    GenerationSpec,
    Sampling,
    check_generation_spec,
    generation_spec_from_json,
)
from edgecap.core.errors import BundleError

SPEC = GenerationSpec(
    begin=(2,),
    eos=(1, 7),
    max_new_tokens=20,
    pad=0,
    prefix=(9, 9),
    beams=3,
    no_repeat_ngram=3,
    forced_first=4,
    forced_last=(1,),
    suppress=(5,),
    sampling=Sampling(0.7, 50, 0.9),
)
MINIMAL = {"begin": [2], "eos": [1], "max_new_tokens": 20}


def test_a_spec_survives_json() -> None:
    assert generation_spec_from_json(json.loads(json.dumps(asdict(SPEC)))) == SPEC
    assert generation_spec_from_json(MINIMAL) == GenerationSpec((2,), (1,), 20)


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"num_beams": 3}, "bundle.unknown_field", "'num_beams'"),
        ({"begin": []}, "bundle.generation", "generation.begin is empty"),
        ({"eos": [-1]}, "bundle.generation", "generation.eos"),
        ({"max_new_tokens": 0}, "bundle.generation", "max_new_tokens is 0"),
        ({"max_new_tokens": 1 << 40}, "bundle.generation", "max_new_tokens"),
        ({"min_new_tokens": 21}, "bundle.generation", "min_new_tokens must be 0-20"),
        ({"beams": 0}, "bundle.generation", "beams is 0"),
        ({"beams": 10_000}, "bundle.generation", "beams"),
        ({"early_stopping": "soon"}, "bundle.generation", "heuristic, first, never"),
        ({"length_penalty": 1e9}, "bundle.generation", "length_penalty"),
        ({"repetition_penalty": 0.0}, "bundle.generation", "repetition_penalty"),
        ({"no_repeat_ngram": -1}, "bundle.generation", "no_repeat_ngram"),
        ({"forced_first": 5, "suppress": [5]}, "bundle.generation", "also suppressed"),
        ({"sampling": {"temperature": 0.0}}, "bundle.generation", "sampling"),
        ({"sampling": {"top_p": 1.5}}, "bundle.generation", "sampling"),
    ],
)
def test_nonsense_is_refused_by_name(change: dict[str, Any], code: str, named: str) -> None:
    with pytest.raises(BundleError) as caught:
        generation_spec_from_json(MINIMAL | change)
    assert caught.value.code == code
    assert named in caught.value.message


def test_ids_beyond_the_vocabulary_are_refused_but_for_the_history() -> None:
    check_generation_spec(SPEC, vocabulary=8)  # prefix names ids that are only read
    with pytest.raises(BundleError, match="generation.eos has an id beyond the 7"):
        check_generation_spec(SPEC, vocabulary=7)
