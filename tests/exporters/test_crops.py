"""Images in crops, as most Idefics3 and SmolVLM checkpoints take them, against transformers.

Its own processor cuts each image and writes the prompt for it; its own model generates.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tiny_bundles import shared_bundle
from tiny_checkpoints import make
from tiny_crops import photos

from edgecap.bundle.io import open_bundle
from edgecap.exporters.job import export
from edgecap.exporters.spec import ExportRequest
from edgecap.models import checkpoint, registry
from edgecap.models.adapter import Limits
from edgecap.quant.captions import collect_captions
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.expected import replay_expected
from edgecap.runtime.image_processing import process
from edgecap.runtime.loading import load

ROWS = 4  # of a crop: 16 patches, four of them folded into one
PROMPT = "Describe this image."


def processor(directory: Path) -> Any:
    """transformers' own; the SmolVLM one needs a package for videos, and writes the same prompt."""
    images = transformers.AutoImageProcessor.from_pretrained(directory, backend="pil")
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    template = tokenizer.chat_template
    return transformers.Idefics3Processor(images, tokenizer, ROWS, chat_template=template)


def generated(directory: Path, family: Any, photo: Image.Image, tokens: int) -> list[int]:
    """What transformers writes about a photo, the end token included where there is one."""
    written = processor(directory)
    content = [{"type": "image"}, {"type": "text", "text": PROMPT}]
    text = written.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    inputs = written(images=[photo], text=[text], return_tensors="pt", add_special_tokens=False)
    model = family.from_pretrained(directory).eval()
    with torch.no_grad():
        made = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            pixel_values=inputs["pixel_values"],
            max_new_tokens=tokens,
        )
    return made[0, inputs["input_ids"].shape[1] :].tolist()


def bundle_of(directory: Path, output: Path, format_: str = "onnx", precision: str = "fp32") -> Any:
    export(ExportRequest(str(directory), (format_,), precision, output, scenes=4))
    captioner = load(output)
    assert isinstance(captioner, Captioner)
    return captioner


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_bundle(tmp_path_factory, "idefics3", "crops")


@pytest.fixture(scope="module")
def directory(bundle: Path) -> Path:
    """The checkpoint that the bundle was made from."""
    return bundle.with_name("model")


@pytest.fixture(scope="module")
def captioner(bundle: Path) -> Any:
    return load(bundle)


def test_photos_of_any_shape_get_the_captions_of_transformers(
    directory: Path, captioner: Any
) -> None:
    family = transformers.Idefics3ForConditionalGeneration
    grids = {process(photo, captioner.manifest.image).grid for photo in photos()}
    assert grids == set(captioner.manifest.image.grids) == {(1, 2), (2, 1), (2, 2)}
    together = captioner.caption(photos())  # in one batch, of different grids
    for photo, caption in zip(photos(), together, strict=True):
        ids = generated(directory, family, photo, captioner.manifest.interface.dims["T"])
        end = captioner.manifest.prompts["caption"].eos
        words = ids[: next((i for i, token in enumerate(ids) if token in end), len(ids))]
        assert list(caption.tokens) == words[: len(caption.tokens)] and len(caption.tokens) > 3
        assert "".join(captioner.stream(photo)).strip() == caption.text
    assert len({caption.tokens for caption in together}) > 1


def test_features_of_crops_that_are_not_there_change_nothing(captioner: Any) -> None:
    graphs, image = captioner.graphs, process(photos()[2], captioner.manifest.image)
    assert image.grid == (1, 2)
    state = graphs.encode_inputs([image])
    P, length = captioner.manifest.interface.dims["P"], int(state["image_length"][0])
    assert 0 < length < P
    inputs = {"token": np.array([[5]], np.int32), "position": np.zeros(1, np.int32)}
    for entry in captioner.manifest.interface.entries("text"):
        inputs[entry.name] = np.zeros(
            captioner.manifest.interface.sizes(entry.shape, 1), np.float32
        )
    logits = graphs.run("decode", inputs | state)["logits"]
    for name, rows in state.items():
        if name != "image_length":
            rows = rows.copy()
            rows[:, :, length:] = 9
            state[name] = rows
    assert np.array_equal(graphs.run("decode", inputs | state)["logits"], logits)


def test_calibration_captions_images_of_different_grids_together(directory: Path) -> None:
    adapter: Any = registry.load(checkpoint.open_checkpoint(directory), 16)
    images, prompt = [process(photo, adapter.image) for photo in photos()], (5, 7)
    found = collect_captions(
        adapter.functions(), adapter.interface, images, prompt, adapter.generation.end, 8
    )
    expected = adapter.reference(images, prompt, Limits(8))
    assert [ids[len(prompt) :] for ids in found.captions] == expected


def test_the_bundle_verifies_itself(captioner: Any, bundle: Path) -> None:
    assert replay_expected(captioner, open_bundle(bundle)).failures == ()


@pytest.mark.full
@pytest.mark.parametrize("format_", ["tflite", "coreml"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "w8", "w8a8"])
def test_every_format_and_precision_passes_the_gate(
    format_: str, precision: str, tmp_path: Path
) -> None:
    smolvlm = make("smolvlm", "crops", tmp_path / "model")
    made = bundle_of(smolvlm, tmp_path / "bundle", format_, precision)
    captions = made.caption(photos())
    assert all(caption.tokens for caption in captions)
    if precision == "fp32":
        family = transformers.SmolVLMForConditionalGeneration
        for photo, caption in zip(photos(), captions, strict=True):
            ids = generated(smolvlm, family, photo, len(caption.tokens))
            assert list(caption.tokens) == ids[: len(caption.tokens)]
