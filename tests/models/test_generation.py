"""How captions begin and end, how long they are, and what transformers makes of the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from host_loop import model_input
from transformers import GenerationConfig

from edgecap.core.errors import UnsupportedError
from edgecap.models.adapter import Limits
from edgecap.models.generation import Generation, generation, ids_of

PROMPTS = {"caption": (2,), "longer": (2, 5, 6)}


def made(before: int = 0, **settings: Any) -> Generation:  # before: ids in front of a prompt
    config = GenerationConfig(**settings).to_dict()
    return generation(config, PROMPTS, end=(3,), pad=1, prefix=(9,) * before)


def test_nothing_said_is_twenty_tokens() -> None:
    assert made() == Generation(PROMPTS, end=(3,), pad=1, max_tokens=20)


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"max_length": 20}, 17),
        ({"max_length": 20, "max_new_tokens": 4}, 4),
        ({"max_length": 2}, 1),
        ({"max_length": 120, "before": 100}, 17),
        ({"before": 100}, 20),
    ],
)
def test_lengths_count_what_follows_the_prompt(settings: dict[str, Any], most: int) -> None:
    assert made(**settings).max_tokens == most


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
    image, generator = model_input(adapter, seed=8), adapter.generator()
    plain = adapter.reference([image], (2,), Limits(12))
    before = generator.generation_config
    generator.generation_config = GenerationConfig(
        **{**before.to_diff_dict(), "forced_bos_token_id": 9, "no_repeat_ngram_size": 1}
    )
    try:
        assert adapter.reference([image], (2,), Limits(12)) == plain
        (shipped,) = adapter.reference([image], (2,), Limits(12, shipped=True))
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


def test_a_prompt_with_crops_holds_one_image(tiny: Callable[[str, str], Any]) -> None:
    from edgecap.models.registry import load

    adapter = tiny("idefics3", "crops").adapter
    longer = load(adapter.checkpoint, 16, prompt="What is it?")
    assert longer.interface.dims["P"] < adapter.interface.dims["P"]
    with pytest.raises(UnsupportedError, match="must hold one image"):
        load(adapter.checkpoint, 16, prompt="and <image> too")


def test_a_chat_template_of_the_processor_alone_will_do(
    tiny: Callable[[str, str], Any], tmp_path: Path
) -> None:
    """chat_template.json, which transformers wrote before chat_template.jinja."""
    from edgecap.models.checkpoint import open_checkpoint
    from edgecap.models.registry import load

    adapter = tiny("smolvlm", "tiny").adapter
    directory = Path(shutil.copytree(adapter.checkpoint.directory, tmp_path / "model"))
    template = directory / "chat_template.jinja"
    older = {"chat_template": template.read_text()}
    template.unlink()
    with pytest.raises(UnsupportedError, match="has no chat template"):
        load(open_checkpoint(directory), 16)
    (directory / "chat_template.json").write_text(json.dumps(older))
    assert load(open_checkpoint(directory), 16).prompts == adapter.prompts
