"""Families that take images of any size: one is chosen for an export, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from host_loop import NEW_TOKENS, eager, greedy
from PIL import Image
from tiny_checkpoints import MAKERS, make
from transformers import AutoImageProcessor, AutoTokenizer

from edgecap.core.errors import EdgecapError, UnsupportedError
from edgecap.models.adapter import Limits
from edgecap.models.checkpoint import open_checkpoint
from edgecap.models.registry import FAMILIES, load
from edgecap.models.translate import Checkpoint, generation_spec, text_spec
from edgecap.runtime.image_processing import process
from edgecap.runtime.text import TextCodec

FREE = [family for family in FAMILIES if family.startswith("qwen")]


def change(directory: Path, name: str, **settings: Any) -> None:
    file = directory / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


@pytest.fixture
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make(request.param, "tiny", tmp_path / request.param)


def processor(family: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The family's own, without its part for videos, which needs torchvision."""
    model = FAMILIES[family].architectures[0].removesuffix("ForConditionalGeneration")
    kind = getattr(transformers, f"{model}Processor")
    monkeypatch.setattr(kind, "check_argument_for_proper_class", lambda *given: None)
    images = AutoImageProcessor.from_pretrained(directory, backend="pil")
    return kind(images, AutoTokenizer.from_pretrained(directory), None)


@pytest.mark.parametrize("directory", FREE, indirect=True)
def test_an_image_of_the_size_is_captioned_as_by_the_familys_processor(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = directory.name
    adapter = load(open_checkpoint(directory), 32)
    side = adapter.image.size[0]
    image = Image.effect_noise((side, side), 90).convert("RGB")
    theirs = processor(family, directory, monkeypatch)
    content = [{"type": "image"}, {"type": "text", "text": "Describe this image."}]
    text = theirs.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}],
        chat_template=adapter.chat()[0].chat_template
        or json.loads((directory / "chat_template.json").read_text())["chat_template"],
        add_generation_prompt=True,
        tokenize=False,
    )
    assert text.startswith("<|im_start|>" + ("user" if family == "qwen3_vl" else "system\nYou are"))
    inputs = theirs(images=[image], text=[text], return_tensors="pt")
    assert inputs["input_ids"][0].tolist() == adapter.ids
    banned = [adapter.model.config.image_token_id]
    with torch.no_grad():
        whole = adapter.model.generate(
            **inputs,
            do_sample=False,
            repetition_penalty=1.0,
            max_new_tokens=NEW_TOKENS,
            suppress_tokens=banned,
        )
    expected = whole[0, len(adapter.ids) :].tolist()
    ours, prompt = process(image, adapter.image), adapter.generation.prompts["caption"]
    ids, _ = greedy(
        eager(adapter), adapter.interface, ours, prompt, adapter.generation.end, tuple(banned)
    )
    assert ids == expected


@pytest.mark.parametrize("directory", FREE, indirect=True)
def test_a_size_is_chosen(directory: Path) -> None:
    checkpoint = open_checkpoint(directory)
    default, small = load(checkpoint, 32), load(checkpoint, 32, image_size=16)
    assert default.image.size == (32, 32) and small.image.size == (16, 16)
    assert default.image.fit == "stretch"
    assert small.interface.dims["h"] == small.interface.dims["w"] == 16
    assert default.interface.dims["P"] - small.interface.dims["P"] == 16 - 4
    assert "stretched to 16x16 px" in small.note
    image = process(Image.effect_noise((40, 20), 90).convert("RGB"), small.image)
    assert image.pixels.shape == (1, 16, 16, 3)
    prompt = small.generation.prompts["caption"]
    ids, _ = greedy(eager(small), small.interface, image, prompt, small.generation.end)
    assert [ids] == small.reference([image], prompt, Limits(NEW_TOKENS))


@pytest.mark.parametrize(
    ("family", "size", "says"),
    [
        ("qwen2_vl", 30, "multiples of 8 px from 16 to 32.*--image-size 32"),
        ("qwen2_vl", 8, "--image-size 16"),
        ("qwen2_vl", 448, "--image-size 32"),
        ("qwen2_vl", 0, "--image-size 16"),
        ("qwen2_vl", -8, "--image-size 16"),
        ("qwen2_5_vl", 24, "multiples of 16 px.*--image-size"),
        ("qwen3_vl", 17, "--image-size 16"),
        ("gemma3", 32, "gemma3 takes images of one size.*Leave --image-size out"),
        ("clip", 32, "clip takes images of one size"),
    ],
)
def test_other_sizes_are_refused(family: str, size: int, says: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(make(family, next(iter(MAKERS[family])), tmp_path / "a"))
    with pytest.raises(UnsupportedError, match=f"(?s)model.image_size.*{says}"):
        load(checkpoint, image_size=size)


@pytest.mark.parametrize("directory", ["qwen2_5_vl"], indirect=True)
def test_a_size_of_no_whole_window_is_refused(directory: Path) -> None:
    change(directory, "preprocessor_config.json", min_pixels=17 * 17, max_pixels=31 * 31)
    with pytest.raises(UnsupportedError, match="no image has whole windows of 16 px"):
        load(open_checkpoint(directory))


@pytest.mark.parametrize("directory", ["qwen2_vl", "qwen2_5_vl"], indirect=True)
def test_text_ends_where_a_window_would_leave_the_image_out(directory: Path) -> None:
    rows = load(open_checkpoint(directory)).image_rows
    window = {"use_sliding_window": True, "sliding_window": rows + 9, "max_window_layers": 1}
    change(directory, "config.json", **window)
    assert load(open_checkpoint(directory)).text_rows == 9


@pytest.mark.parametrize("directory", FREE, indirect=True)
def test_a_second_image_in_the_prompt_is_refused(directory: Path) -> None:
    with pytest.raises(EdgecapError, match="must hold one image, in one piece"):
        load(open_checkpoint(directory), prompt="Compare it with <|image_pad|>.")


@pytest.mark.parametrize("directory", ["qwen2_5_vl"], indirect=True)
def test_generation_settings_of_the_hub_are_carried(directory: Path) -> None:
    """Two end tokens, sampling, and a penalty on what the whole prompt says."""
    adapter = load(open_checkpoint(directory))
    generation = adapter.generation
    assert generation.end == (258, 256) and generation.pad == 256
    spec = generation_spec(
        Checkpoint(directory), begin=generation.prompts["caption"], prefix=generation.prefix
    )
    assert spec.repetition_penalty == 1.05 and spec.eos == (258, 256)
    assert spec.sampling is not None and spec.sampling.top_k == 1
    assert np.array_equal([*spec.prefix, *spec.begin], adapter.ids)


def test_the_readme_of_a_bundle_says_that_images_are_stretched(
    tiny: Callable[[str, str], Any],
) -> None:
    assert tiny("qwen2_vl", "tiny").adapter.note.startswith("Images are stretched to 32x32 px")
    assert tiny("blip", "tiny").adapter.note == ""


@pytest.mark.parametrize("directory", FREE, indirect=True)
def test_ids_become_the_text_of_the_tokenizer(directory: Path) -> None:
    spec = text_spec(Checkpoint(directory))
    assert spec.family == "byte_level"
    ours, theirs = TextCodec(spec), AutoTokenizer.from_pretrained(directory)
    assert len(ours) == len(theirs)
    runs = np.random.default_rng(3).integers(0, len(theirs), (50, 12)).tolist()
    for ids in [*([i] for i in range(len(theirs))), *runs]:
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
