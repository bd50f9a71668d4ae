"""generation_config.json of a whole checkpoint: bundles generate as transformers does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from host_loop import Run, eager, encode, model_input
from tiny_checkpoints import make_whole

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.bundle.regions_spec import RegionsSpec
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.exporters.described import describe
from edgecap.exporters.prepare import prepare_export
from edgecap.models.adapter import Limits
from edgecap.models.checkpoint import Checkpoint, open_checkpoint
from edgecap.models.registry import load
from edgecap.runtime.image_processing import ModelInput
from edgecap.runtime.logits import apply_rules

MakeWith = Callable[..., tuple[Any, Checkpoint]]

# transformers recommends to write a length down; that it is not is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:Using the model-agnostic default")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MakeWith:
    """A tiny checkpoint whose generation_config.json has more settings, loaded."""

    def get(family: str, variant: str, **settings: Any) -> tuple[Any, Checkpoint]:
        first = tmp_path_factory.getbasetemp() / f"{family}-{variant}"
        if not first.is_dir():
            make_whole(family, variant, first)
        directory = tmp_path_factory.mktemp("set") / "model"
        shutil.copytree(first, directory)
        file = directory / "generation_config.json"
        if settings:
            file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
        opened = open_checkpoint(directory)
        return load(opened), opened

    return get


def suppressed(adapter: Any) -> tuple[int, ...]:
    """The image's token: transformers stops where a random model says it."""
    token = getattr(adapter.model.config, "image_token_id", None)
    return () if token is None else (token,)


def host(run: Run, adapter: Any, image: ModelInput, spec: GenerationSpec) -> list[int]:
    """The ids of a host that follows `spec`, greedily."""
    interface = adapter.interface
    state, ids = encode(run, interface, image), list[int]()
    for entry in interface.entries("text"):
        state[entry.name] = np.zeros(interface.sizes(entry.shape, 1), np.float32)
    for position in range(len(spec.begin) + spec.max_new_tokens - 1):
        fed = (*spec.begin, *ids)[position]
        place = {"token": np.array([[fed]], np.int32), "position": np.array([position], np.int32)}
        found = run("decode", {**place, **state})
        for entry in interface.entries("text"):
            state[entry.name][:, :, position] = found[entry.new][:, :, 0]
        if position < len(spec.begin) - 1:
            continue
        ids.append(int(apply_rules(spec, found["logits"][0], ids).argmax()))
        if ids[-1] in spec.eos:
            break
    return ids


@pytest.mark.parametrize(
    ("family", "variant"),
    [
        ("paligemma", "one-kv-head"),
        ("kosmos-2", "tiny"),
        ("blip-2", "tiny"),
        ("gemma3", "tiny"),
        ("llava", "tiny"),
        ("llava_onevision", "tiny"),
    ],
)
@pytest.mark.parametrize(
    "settings", [{"repetition_penalty": 1.8}, {"no_repeat_ngram_size": 1}, {"min_length": 32}]
)
def test_rules_look_back_at_the_whole_prompt(
    family: str, variant: str, settings: dict[str, Any], made: MakeWith
) -> None:
    """As transformers counts and compares: what stands before the image, and behind it, too."""
    banned = suppressed(made(family, variant)[0])
    adapter, opened = made(family, variant, **settings, suppress_tokens=list(banned))
    (spec,) = describe(adapter, opened).prompts.values()
    image = model_input(adapter, seed=2)
    limits = Limits(spec.max_new_tokens, shipped=True)
    assert [host(eager(adapter), adapter, image, spec)] == adapter.reference(
        [image], spec.begin, limits
    )


def test_a_prompt_is_written_down_only_where_a_rule_looks_at_it(made: MakeWith) -> None:
    plain = describe(*made("paligemma", "one-kv-head")).prompts["caption"]
    rules = describe(*made("paligemma", "one-kv-head", repetition_penalty=1.2)).prompts["caption"]
    assert plain.prefix == () and len(rules.prefix) > 16


def test_a_part_that_generates_does_not_read_the_file(made: MakeWith) -> None:
    """The file is for the whole model, as transformers reads it; in BLIP the decoder generates."""
    adapter, opened = made("blip", "tiny", num_beams=3, max_length=9, repetition_penalty=1.4)
    (spec,) = describe(adapter, opened).prompts.values()
    assert (spec.beams, spec.max_new_tokens, spec.repetition_penalty) == (1, 20, 1.0)
    image = model_input(adapter)
    theirs = adapter.model.generate(pixel_values=adapter.pixels(image.pixels))[0].tolist()[1:]
    assert host(eager(adapter), adapter, image, spec) == theirs


def test_a_length_that_the_prompt_fills_is_refused(made: MakeWith) -> None:
    adapter, opened = made("paligemma", "one-kv-head", max_length=12)
    with pytest.raises(InputError, match="max_length 12 leaves no room after a prompt of"):
        describe(adapter, opened)


@pytest.mark.parametrize(
    ("family", "variant"), [("blip", "tiny"), ("kosmos-2", "tiny"), ("paligemma", "one-kv-head")]
)
def test_captions_may_be_longer_than_the_files_say(
    family: str, variant: str, made: MakeWith
) -> None:
    """Model cards pass max_new_tokens to generate; no file of the checkpoint has it."""
    _, opened = made(family, variant)
    adapter = load(opened, max_length=33)
    (spec,) = describe(adapter, opened, 33).prompts.values()
    assert spec.max_new_tokens == 33
    assert adapter.interface.dims["T"] == 33 + len(spec.begin)
    image = model_input(adapter)
    limits = Limits(33, suppressed(adapter), shipped=True)
    (theirs,) = adapter.reference([image], spec.begin, limits)
    ours = host(eager(adapter), adapter, image, replace(spec, suppress=limits.banned))
    assert ours == theirs and len(ours) > 20


def test_a_length_beyond_the_positions_is_refused(made: MakeWith) -> None:
    _, opened = made("blip", "tiny")  # 40 positions
    with pytest.raises(UnsupportedError, match="captions of 60 tokens are not possible"):
        describe(load(opened, max_length=60), opened, 60)


@pytest.mark.parametrize("option", [{"max_length": 30}, {"prompt": "a photo of"}])
def test_options_of_checkpoints_are_refused_of_the_reference(option: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match="of Hugging Face checkpoints"):
        prepare_export("S", formats=("onnx",), precision="fp32", **option)


def test_lengths_that_cannot_be_are_refused(made: MakeWith) -> None:
    _, opened = made("blip", "tiny")
    export: dict[str, Any] = {"formats": ("onnx",), "precision": "fp32"}
    with pytest.raises(InputError, match="--max-length must be in 1"):
        prepare_export(str(opened.directory), max_length=0, **export)
    _, embeds = made("siglip", "tiny")
    with pytest.raises(UnsupportedError, match="--max-length: of captions, and .* writes none"):
        prepare_export(str(embeds.directory), max_length=30, **export)


def test_boxes_are_described_where_the_tokenizer_has_places(made: MakeWith) -> None:
    boxes = describe(*made("paligemma", "one-kv-head")).regions
    assert boxes == RegionsSpec("loc1024", 261, 1024)
    assert describe(*made("kosmos-2", "tiny")).regions is None  # one place, of 1024
    assert describe(*made("blip", "tiny")).regions is None


@pytest.mark.parametrize(
    ("task", "codec"),
    [("<OD>", "loc1000"), ("<OCR_WITH_REGION>", None), ("<REGION_TO_SEGMENTATION>", None)],
)
def test_corners_of_outlines_are_not_read_as_boxes(
    task: str, codec: str | None, made: MakeWith
) -> None:
    """Eight places of a quadrilateral would read as two boxes of no height."""
    _, opened = made("florence2", "tiny")
    assert load(opened, prompt=task).regions == codec


@pytest.mark.parametrize(
    ("written", "named", "start"),
    [
        ({"decoder_start_token_id": 5, "bos_token_id": 7}, 9, 5),
        ({"bos_token_id": 7}, 9, 7),  # config.json is not looked into
        ({}, 9, 9),  # transformers refuses until it is told
        (None, 9, 9),
        (None, None, 2),  # of the decoder's part
    ],
)
def test_a_text_begins_with_what_transformers_chooses(
    written: dict[str, int] | None, named: int | None, start: int, made: MakeWith
) -> None:
    _, opened = made("vision-encoder-decoder", "gpt2")
    file = opened.directory / "generation_config.json"
    file.unlink()
    if written is not None:
        file.write_text(json.dumps({"eos_token_id": 3, "pad_token_id": 1, **written}))
    file = opened.directory / "config.json"
    config = {**json.loads(file.read_text()), "decoder_start_token_id": named}
    file.write_text(json.dumps(config))
    adapter = load(opened)
    assert adapter.generation is not None
    assert adapter.generation.prompts == {"caption": (start,)}
    pixels = adapter.pixels(model_input(adapter).pixels)
    assert adapter.model.generate(pixels, max_new_tokens=1)[0, 0] == start
    (spec,) = describe(adapter, opened).prompts.values()
    assert len(adapter.reference([model_input(adapter)], spec.begin, Limits(3, shipped=True))) == 1
