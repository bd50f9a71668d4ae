"""LLaVA's prompts and images are those of its processors, and what it cannot do is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from host_loop import greedy
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoProcessor,
    AutoTokenizer,
    LlavaOnevisionProcessor,
)

from edgecap.core.errors import UnsupportedError
from edgecap.models.adapter import Limits
from edgecap.models.checkpoint import open_checkpoint
from edgecap.models.registry import load
from edgecap.models.translate import Checkpoint, text_spec
from edgecap.runtime.image_processing import process
from edgecap.runtime.text import TextCodec

Tiny = Callable[[str, str], Any]


@pytest.mark.parametrize("variant", ["tiny", "mistral", "qwen2"])
def test_the_prompt_is_that_of_the_processor(variant: str, tiny: Tiny) -> None:
    """Also where the tokenizer and not the template sets the first token."""
    adapter = tiny("llava", variant).adapter
    processor = AutoProcessor.from_pretrained(adapter.checkpoint.directory, backend="pil")
    parts = [
        {"type": "image", "image": Image.new("RGB", (50, 40))},
        {"type": "text", "text": adapter.prompt},
    ]
    written = processor.apply_chat_template(
        [{"role": "user", "content": parts}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
    )
    assert list(written["input_ids"][0]) == adapter.ids


def test_a_template_is_looked_for_where_processors_look(tiny: Tiny, tmp_path: Path) -> None:
    """In processor_config.json, then in chat_template.json, then in chat_template.jinja."""
    adapter = tiny("llava", "tiny").adapter
    directory = Path(shutil.copytree(adapter.checkpoint.directory, tmp_path / "model"))
    (directory / "chat_template.jinja").write_text("<image> of the tokenizer")
    opened = open_checkpoint(directory)
    assert load(opened, 16).ids == adapter.ids
    file = directory / "processor_config.json"
    first = {"chat_template": "<image> of the processor"}
    file.write_text(json.dumps(json.loads(file.read_text()) | first))
    ids = load(opened, 16).ids
    processor = AutoProcessor.from_pretrained(directory, backend="pil")
    written = processor(Image.new("RGB", (9, 9)), processor.chat_template)
    assert ids == written["input_ids"][0] != adapter.ids


@pytest.mark.parametrize("variant", ["tiny", "two-layers"])
def test_an_image_takes_the_rows_that_the_processor_counts(variant: str, tiny: Tiny) -> None:
    """Which cannot be made without torchvision, but counts without being made."""
    adapter = tiny("llava_onevision", variant).adapter
    grids = adapter.model.config.image_grid_pinpoints
    processor = SimpleNamespace(
        num_image_tokens=adapter.side**2,
        vision_aspect_ratio=adapter.model.config.vision_aspect_ratio,
        image_processor=SimpleNamespace(image_grid_pinpoints=grids),
        _get_unpadded_features=lambda *sides: LlavaOnevisionProcessor._get_unpadded_features(
            processor, *sides
        ),
    )
    sides = adapter.image_size * 2
    assert adapter.count == LlavaOnevisionProcessor._get_number_of_features(processor, *sides)


@pytest.mark.parametrize("variant", ["tiny", "two-layers"])
@pytest.mark.parametrize("side", [32, 21])
def test_a_small_square_is_read_as_transformers_reads_it(
    side: int, variant: str, tiny: Tiny
) -> None:
    """From the image to the ids, through the family's own image processor."""
    made = tiny("llava_onevision", variant)
    adapter = made.adapter
    noise = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    image, prompt = Image.fromarray(noise), adapter.generation.prompts["caption"]
    directory = adapter.checkpoint.directory
    seen = AutoImageProcessor.from_pretrained(directory, backend="pil")(image, return_tensors="pt")
    ids = adapter.whole(list(prompt))
    with torch.no_grad():
        theirs = adapter.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            suppress_tokens=[adapter.model.config.image_token_id],
            max_new_tokens=20,
            **seen,
        )
    banned = (adapter.model.config.image_token_id,)
    ours = process(image, adapter.image)
    found, _ = greedy(made.eager, adapter.interface, ours, prompt, adapter.generation.end, banned)
    assert found == theirs[0, ids.shape[1] :].tolist()
    assert [found] == adapter.reference([ours], prompt, Limits(20, banned))


@pytest.mark.parametrize(
    "case", [("llava", "tiny"), ("llava", "qwen2"), ("llava_onevision", "tiny")], ids="-".join
)
def test_ids_become_the_words_of_the_tokenizer(case: tuple[str, str], tiny: Tiny) -> None:
    directory = tiny(*case).directory
    theirs = AutoTokenizer.from_pretrained(directory)
    codec = TextCodec(text_spec(Checkpoint(directory)))
    for ids in np.random.default_rng(3).integers(0, len(theirs), (100, 12)).tolist():
        assert codec.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
        assert codec.decode(ids, skip_special=False) == theirs.decode(ids)


def test_text_ends_where_the_window_does(tiny: Tiny) -> None:
    adapter = tiny("llava", "mistral").adapter
    assert adapter.positions == 128 - adapter.image_rows
    assert tiny("llava", "tiny").adapter.positions == 160 - adapter.image_rows


def changed(made: Any, directory: Path, *path: str, **settings: Any) -> Any:
    """A copy of a checkpoint with other settings in config.json, below `path`."""
    shutil.copytree(made.adapter.checkpoint.directory, directory)
    file = directory / "config.json"
    config = json.loads(file.read_text())
    part = config
    for name in path:
        part = part[name]
    part |= settings
    file.write_text(json.dumps(config))
    return open_checkpoint(directory)


@pytest.mark.parametrize(
    ("family", "path", "settings", "named"),
    [
        ("llava", ["text_config"], {"model_type": "gemma"}, "model gemma inside llava"),
        ("llava", ["vision_config"], {"model_type": "pixtral"}, "image tower pixtral inside llava"),
        (
            "llava",
            ["text_config", "rope_parameters"],
            {"rope_type": "dynamic", "factor": 2.0},
            "rope_type dynamic",
        ),
        ("llava_onevision", [], {"image_grid_pinpoints": [[32, 64]]}, "without 32x32"),
        (
            "llava_onevision",
            [],
            {"vision_feature_select_strategy": "default"},
            "'default' of siglip_vision_model leaves 15 of 16",
        ),
    ],
)
def test_what_is_not_exported_is_named(
    family: str,
    path: list[str],
    settings: dict[str, Any],
    named: str,
    tiny: Tiny,
    tmp_path: Path,
) -> None:
    opened = changed(tiny(family, "tiny"), tmp_path / "model", *path, **settings)
    with pytest.raises(UnsupportedError, match=named) as refused:
        load(opened, build=configured)
    assert refused.value.code == "model.part"


def configured(model: Any, checkpoint: Any) -> Any:
    """A model by its config, whatever its files hold."""
    return model(model.config_class.from_pretrained(checkpoint.directory))


@pytest.mark.parametrize("prompt", ["What is it?", "and <image> too"])
def test_a_prompt_holds_one_image(prompt: str, tiny: Tiny) -> None:
    adapter = tiny("llava_onevision", "tiny").adapter
    if "<image>" in prompt:
        with pytest.raises(UnsupportedError, match="its token 3 stands 2 times"):
            load(adapter.checkpoint, 16, prompt=prompt)
    else:
        assert load(adapter.checkpoint, 16, prompt=prompt).image_rows < adapter.image_rows
