"""Generation settings: each of transformers' is translated or refused by name, none dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from host_loop import image_of
from transformers import GenerationConfig

from edgecap.core.errors import UnsupportedError
from edgecap.models.adapter import Limits
from edgecap.models.generation import IGNORED, Generation, Sampling, ids_of, translate

PROMPTS = {"caption": (2,), "longer": (2, 5, 6)}


def made(before: int = 0, **settings: Any) -> Generation:
    config = GenerationConfig(**settings).to_dict()
    return translate(config, PROMPTS, end=(3,), pad=1, before=before)


def test_nothing_said_is_plain_greedy() -> None:
    assert made() == Generation(PROMPTS, end=(3,), pad=1, max_tokens=20)


def test_everything_that_is_translated() -> None:
    assert made(
        max_new_tokens=12,
        min_new_tokens=2,
        num_beams=3,
        length_penalty=0.5,
        early_stopping=True,
        no_repeat_ngram_size=3,
        repetition_penalty=1.5,
        suppress_tokens=[8, 9],
        begin_suppress_tokens=[3],
        bad_words_ids=[[7]],
        forced_bos_token_id=0,
        forced_eos_token_id=3,
        do_sample=True,
        temperature=0.7,
        top_k=5,
        top_p=0.9,
    ) == Generation(
        PROMPTS,
        end=(3,),
        pad=1,
        max_tokens=12,
        min_tokens=2,
        suppress=(8, 9, 7),
        suppress_first=(3,),
        force_first=0,
        force_last=3,
        beams=3,
        length_penalty=0.5,
        early_stopping=True,
        no_repeat_ngram=3,
        repetition_penalty=1.5,
        sampling=Sampling(0.7, 5, 0.9),
    )


@pytest.mark.parametrize(
    ("settings", "most", "least"),
    [
        ({"max_length": 20}, 17, 0),
        ({"max_length": 20, "max_new_tokens": 4}, 4, 0),
        ({"max_length": 2}, 1, 0),
        ({"max_length": 120, "before": 100}, 17, 0),
        ({"before": 100}, 20, 0),
        ({"min_length": 8}, 20, 5),
        ({"min_length": 8, "min_new_tokens": 1}, 20, 1),
    ],
)
def test_lengths_count_what_follows_the_prompt(
    settings: dict[str, Any], most: int, least: int
) -> None:
    translated = made(**settings)
    assert (translated.max_tokens, translated.min_tokens) == (most, least)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("penalty_alpha", 0.6),
        ("diversity_penalty", 0.5),
        ("num_return_sequences", 2),
        ("typical_p", 0.5),
        ("min_p", 0.1),
        ("guidance_scale", 2.0),
        ("stop_strings", ["."]),
        ("bad_words_ids", [[1, 2]]),
        ("early_stopping", "never"),
        ("sequence_bias", [[[4], 1.0]]),
        ("exponential_decay_length_penalty", (3, 1.1)),
        ("encoder_repetition_penalty", 1.2),
        ("mine", 1),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(name: str, value: Any) -> None:
    config = {**GenerationConfig().to_dict(), name: value}
    with pytest.raises(UnsupportedError, match=name) as refused:
        translate(config, PROMPTS, end=(3,), pad=1)
    assert refused.value.code == "model.generation"
    assert name in refused.value.hint


def test_every_setting_of_transformers_is_accounted_for() -> None:
    """A new one that is not at its default would be refused, and that should be a decision."""
    known = set(GenerationConfig().to_dict())
    assert known >= IGNORED - {"_from_model_config"}


@pytest.mark.parametrize(
    ("said", "ids"), [((None, 3), (3,)), (([4, 5], 3), (4, 5)), ((None,), ()), ((0, 3), (0,))]
)
def test_one_id_or_several(said: tuple[Any, ...], ids: tuple[int, ...]) -> None:
    assert ids_of(*said) == ids


def test_a_reference_is_plain_unless_shipped_is_asked_for(
    tiny: Callable[[str, str], Any],
) -> None:
    """A checkpoint's forced tokens and n-grams are used where they are asked for, and not else."""
    adapter = tiny("vision-encoder-decoder", "gpt2").adapter
    image, generator = image_of(adapter.interface, 1, seed=8), adapter.generator()
    plain = adapter.reference(image, (2,), Limits(12))
    before = generator.generation_config
    generator.generation_config = GenerationConfig(
        **{**before.to_diff_dict(), "forced_bos_token_id": 9, "no_repeat_ngram_size": 1}
    )
    try:
        assert adapter.reference(image, (2,), Limits(12)) == plain
        (shipped,) = adapter.reference(image, (2,), Limits(12, shipped=True))
    finally:
        generator.generation_config = before
    assert shipped[0] == 9
    assert len(set(shipped)) == len(shipped)


def test_a_caption_longer_than_the_model_counts_is_refused(
    tiny: Callable[[str, str], Any],
) -> None:
    from edgecap.models.registry import load

    checkpoint = tiny("blip", "tiny").adapter.checkpoint
    with pytest.raises(UnsupportedError, match="positions for 40"):
        load(checkpoint, 41)
    with pytest.raises(UnsupportedError, match="longest prompt takes 1"):
        load(checkpoint, 1)
    with pytest.raises(UnsupportedError, match="no prompt around its image"):
        load(checkpoint, prompt="a photo of")
    assert load(checkpoint, 40).interface.dims["T"] == 40


def test_words_around_the_image_are_part_of_encode(tiny: Callable[[str, str], Any]) -> None:
    from edgecap.models.registry import load

    adapter = tiny("paligemma", "one-kv-head").adapter
    longer = load(adapter.checkpoint, 16, prompt="<image>describe en")
    grown = longer.interface.dims["P"] - adapter.interface.dims["P"]
    assert grown == len("describe") - len("caption")
    with pytest.raises(UnsupportedError, match="is not possible: The total number"):
        load(adapter.checkpoint, 16, prompt="<image>caption<image> en")
