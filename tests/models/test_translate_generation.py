"""generation_config.json becomes a GenerationSpec that gives the same tokens, or is refused."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_text_models import Stepper, bart, gpt2
from transformers import GenerationConfig

from edgecap.bundle.generation_spec import GenerationSpec, Sampling
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.models.translate import Checkpoint, generation_spec, start_id
from edgecap.models.translate.generation import KNOWN
from edgecap.runtime.beams import search
from edgecap.runtime.logits import apply_rules
from edgecap.runtime.rules import Rules

# transformers recommends to write a length down; that it is not is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:Using the model-agnostic default")


def checkpoint(path: Path, **settings: Any) -> Checkpoint:
    GenerationConfig(**settings).save_pretrained(path)
    return Checkpoint(path)


def raw(path: Path, settings: dict[str, Any], file: str = "generation_config.json") -> Checkpoint:
    (path / file).write_text(json.dumps(settings))
    return Checkpoint(path)


def ids_of(spec: GenerationSpec, stepper: Stepper) -> list[int]:
    """What a host generates under a spec, greedily or by beams."""
    logits = stepper.logits()[0]
    if spec.beams > 1:
        return list(search(Rules(spec), logits, stepper.step)[0].tokens)
    tokens = list[int]()
    while len(tokens) < spec.max_new_tokens and not {*tokens[-1:]} & {*spec.eos}:
        tokens.append(int(apply_rules(spec, logits, tokens).argmax()))
        logits = stepper.step(tokens[-1:], [0])[0]
    return tokens


FILES: list[dict[str, Any]] = [
    {},
    {"max_length": 9, "min_length": 6},
    {"max_new_tokens": 7, "min_new_tokens": 4, "max_length": 3},
    {"num_beams": 3, "no_repeat_ngram_size": 3},  # Florence-2's
    {"num_beams": 4, "length_penalty": 0.0, "early_stopping": True, "max_length": 14},
    {"num_beams": 3, "length_penalty": 2.0, "early_stopping": "never"},
    {"repetition_penalty": 1.5, "suppress_tokens": [3, 14]},
    {"bad_words_ids": [[3], [14], [1]]},  # Donut's, of one id each
    {"begin_suppress_tokens": [3, 14, 9, 5], "forced_eos_token_id": 1, "max_length": 8},
    {"forced_bos_token_id": 4, "begin_suppress_tokens": [3, 14, 9, 5]},
]


@pytest.mark.parametrize("settings", FILES, ids=str)
@pytest.mark.parametrize("begin", [(2,), (2, 6, 6)], ids=len)
def test_the_same_tokens_come_decoder_only(
    settings: dict[str, Any], begin: tuple[int, ...], tmp_path: Path
) -> None:
    source = checkpoint(tmp_path, eos_token_id=[1, 7], pad_token_id=0, **settings)
    model = deepcopy(gpt2(0))
    model.generation_config = GenerationConfig.from_pretrained(tmp_path)
    spec = generation_spec(source, begin=begin)
    start = torch.tensor([begin])
    expected = model.generate(start, attention_mask=torch.ones_like(start))[
        0, len(begin) :
    ].tolist()
    assert ids_of(spec, Stepper(model, begin)) == expected


@pytest.mark.parametrize("settings", FILES, ids=str)
def test_the_same_tokens_come_encoder_decoder(settings: dict[str, Any], tmp_path: Path) -> None:
    source = checkpoint(
        tmp_path, eos_token_id=1, pad_token_id=0, decoder_start_token_id=2, **settings
    )
    model = deepcopy(bart(3))
    model.generation_config = GenerationConfig.from_pretrained(tmp_path)
    begin = (start_id(source),)
    spec = generation_spec(source, begin=begin)
    inputs = {"input_ids": torch.tensor([[0, 11, 12, 13, 2]])}
    expected = model.generate(**inputs)[0, 1:].tolist()
    assert ids_of(spec, Stepper(model, begin, **inputs)) == expected


def test_every_setting_of_transformers_is_known() -> None:
    """A release that adds one must be looked at before it is followed."""
    assert set(GenerationConfig().to_dict()) | set(vars(GenerationConfig())) <= KNOWN | {
        "_original_object_hash"
    }


def test_lengths_count_the_prompt_as_generate_does(tmp_path: Path) -> None:
    source = checkpoint(tmp_path, max_length=40, min_length=30, eos_token_id=1)
    spec = generation_spec(source, begin=(3,), prefix=(9,) * 20)
    assert (spec.max_new_tokens, spec.min_new_tokens) == (19, 9)
    assert generation_spec(source, begin=(3,), embedded=32).max_new_tokens == 7
    with pytest.raises(InputError, match="max_length 40 leaves no room after a prompt of 65 ids"):
        generation_spec(source, begin=(3,), prefix=(9,) * 64)


def test_sampling_is_carried_with_the_defaults_of_transformers(tmp_path: Path) -> None:
    source = raw(tmp_path, {"do_sample": True, "temperature": 0.6, "eos_token_id": 1})
    assert generation_spec(source, begin=(3,)).sampling == Sampling(0.6, 50, 1.0)
    source = raw(tmp_path, {"temperature": 0.6, "eos_token_id": 1})
    assert generation_spec(source, begin=(3,)).sampling is None


def test_a_family_may_pass_ids_itself(tmp_path: Path) -> None:
    source = raw(tmp_path, {"eos_token_id": 1})
    spec = generation_spec(source, begin=(3,), ids={"eos_token_id": 102, "pad_token_id": 0})
    assert (spec.eos, spec.pad) == ((102,), 0)


def test_without_the_file_the_config_is_asked(tmp_path: Path) -> None:
    config = {
        "eos_token_id": 5,
        "hidden_size": 8,
        "decoder": {"eos_token_id": 6, "bos_token_id": 4, "num_beams": 2},
    }
    source = raw(tmp_path, config, "config.json")
    spec = generation_spec(source, begin=(start_id(source),))
    assert (spec.begin, spec.eos, spec.beams) == ((4,), (5,), 2)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"stop_strings": ["\n"]}, "stop_strings"),
        ({"bad_words_ids": [[3], [4, 5]]}, "bad_words_ids of several ids"),
        ({"guidance_scale": 1.5}, "guidance_scale: 1.5"),
        ({"num_beam_groups": 2}, "num_beam_groups"),
        ({"exponential_decay_length_penalty": [5, 1.1]}, "exponential_decay_length_penalty"),
        ({"encoder_no_repeat_ngram_size": 3}, "encoder_no_repeat_ngram_size"),
        ({"do_sample": True, "min_p": 0.1}, "min_p"),
        ({"do_sample": True, "num_beams": 2}, "do_sample with num_beams"),
        ({"a_new_setting": 1}, "a_new_setting"),
    ],
)
def test_what_no_bundle_can_say_is_refused_by_name(
    settings: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError, match=named):
        generation_spec(raw(tmp_path, settings), begin=(3,))


def test_settings_that_change_nothing_are_left_out(tmp_path: Path) -> None:
    idle = {"use_cache": False, "min_p": 0.1, "guidance_scale": 1.0, "output_scores": True}
    assert generation_spec(raw(tmp_path, idle), begin=(3,)) == GenerationSpec((3,), (), 20)


@pytest.mark.parametrize(
    "settings",
    [
        {"eos_token_id": "1"},
        {"eos_token_id": [-1]},
        {"pad_token_id": [1, 2]},
        {"num_beams": 0},
        {"num_beams": True},
        {"early_stopping": "soon"},
        {"max_new_tokens": 0},
        {"length_penalty": "long"},
        {"suppress_tokens": [1], "forced_eos_token_id": 1},
    ],
    ids=str,
)
def test_nonsense_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="checkpoint.setting"):
        generation_spec(raw(tmp_path, settings), begin=(3,))


def test_without_any_start_id_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="decoder_start_token_id"):
        start_id(raw(tmp_path, {"eos_token_id": 1}))
