"""Settings of image processors become an ImageSpec that gives the same pixels, or are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.donut.image_processing_pil_donut import DonutImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from edgecap.core.errors import EdgecapError, InputError, UnsupportedError
from edgecap.models.translate import Checkpoint, image_spec, square_sides
from edgecap.models.translate.image import DEFAULTS
from edgecap.runtime.image_processing import process

CLASSES: dict[str, Any] = {
    "ViT": ViTImageProcessorPil,
    "DeiT": DeiTImageProcessorPil,
    "Blip": BlipImageProcessorPil,
    "CLIP": CLIPImageProcessorPil,
    "Siglip": SiglipImageProcessorPil,
    "Donut": DonutImageProcessorPil,
    "Gemma3": Gemma3ImageProcessorPil,
    "Idefics3": Idefics3ImageProcessorPil,
    "SmolVLM": SmolVLMImageProcessorPil,
    "Llava": LlavaImageProcessorPil,
    "LlavaOnevision": LlavaOnevisionImageProcessorPil,
    "Qwen2VL": Qwen2VLImageProcessorPil,
}
# Settings as checkpoints have them.
CASES: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in CLASSES if kind not in ("Donut", "LlavaOnevision", "Qwen2VL")),
    ("ViT", {"size": 384, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}),
    ("ViT", {"size": {"height": 96, "width": 64}, "do_normalize": False}),
    ("ViT", {"do_rescale": False, "resample": 1}),
    ("Blip", {"size": 96, "resample": 2}),
    ("CLIP", {"use_square_size": True}),  # Kosmos-2
    ("CLIP", {"size": {"height": 768, "width": 768}, "do_center_crop": False}),  # Florence-2
    ("CLIP", {"size": 90, "crop_size": 64}),
    ("CLIP", {"do_convert_rgb": False, "rescale_factor": 1 / 127.5}),
    ("Siglip", {"size": {"height": 64, "width": 64}, "image_mean": 0.4, "image_std": 0.3}),
    ("Donut", {"size": {"height": 128, "width": 96}}),
    ("Donut", {"size": [96, 128]}),
    ("Llava", {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}),
    ("Idefics3", {"size": {"longest_edge": 100}, "max_image_size": {"longest_edge": 40}}),
    ("SmolVLM", {"do_image_splitting": False, "max_image_size": {"longest_edge": 40}}),
]


def checkpoint(
    path: Path, settings: dict[str, Any], file: str = "preprocessor_config.json"
) -> Checkpoint:
    (path / file).write_text(json.dumps(settings))
    return Checkpoint(path)


@pytest.mark.parametrize("kind", CLASSES)
def test_defaults_are_those_of_the_class(kind: str) -> None:
    saved = CLASSES[kind]().to_dict()
    for name, value in DEFAULTS[kind].items():
        theirs = saved.get(name, getattr(CLASSES[kind], name))
        ours = list(value) if isinstance(value, tuple) else value
        assert (list(theirs) if isinstance(theirs, tuple) else theirs) == ours, name
    ours = {**DEFAULTS[kind]}
    for name in ("do_center_crop", "do_pad", "do_convert_rgb"):
        assert bool(ours.get(name)) == bool(getattr(CLASSES[kind](), name)), name


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("written", [True, False], ids=["as saved", "as given"])
def test_values_are_those_of_transformers(
    case: tuple[str, dict[str, Any]], written: bool, tmp_path: Path
) -> None:
    """Both from the file that save_pretrained writes and from one with the settings alone."""
    kind, settings = case
    processor = CLASSES[kind](**settings)
    if written:
        processor.save_pretrained(tmp_path)
        source = Checkpoint(tmp_path)
    else:
        name = {"image_processor_type": f"{kind}ImageProcessorFast"}
        source = checkpoint(tmp_path, name | settings)
    spec, scaling = image_spec(source)
    image = Image.effect_noise((133, 71), 90).convert("RGB")
    pixels = processor(image)["pixel_values"]
    crops = np.asarray(pixels[0] if np.ndim(pixels[0]) == 4 else pixels)  # [n,3,h,w]
    got = process(image, spec).pixels.transpose(0, 3, 1, 2)  # [n,3,h,w]
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (scaling.mean, scaling.std))
    np.testing.assert_allclose((got * scaling.scale - mean) / std, crops, atol=2e-6)


@pytest.mark.parametrize(
    "settings", [{}, {"size": {"shortest_edge": 96}, "image_grid_pinpoints": [[96, 96], [96, 192]]}]
)
@pytest.mark.parametrize("sides", [(133, 71), (160, 90), (96, 96), (95, 95), (20, 20)], ids=str)
def test_the_whole_image_is_the_crop_of_small_squares(
    sides: tuple[int, int], settings: dict[str, Any], tmp_path: Path
) -> None:
    """LLaVA-OneVision: the first of what transformers makes, whatever the shape."""
    processor = LlavaOnevisionImageProcessorPil(**settings)
    processor.save_pretrained(tmp_path)
    spec, scaling = image_spec(Checkpoint(tmp_path))
    image = Image.effect_noise(sides, 90).convert("RGB")
    whole, *crops = processor(image)["pixel_values"][0]  # each [3,h,w]
    (got,) = process(image, spec).pixels.transpose(0, 3, 1, 2)
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (scaling.mean, scaling.std))
    np.testing.assert_allclose((got * scaling.scale - mean) / std, whole, atol=2e-6)
    if sides[0] == sides[1]:
        assert len(crops) == 1 and np.array_equal(crops[0], whole)


# Of an image processor without a fixed size: settings, and the sides of squares that it leaves be.
SIDES: list[tuple[dict[str, Any], range]] = [
    ({}, range(56, 1003, 28)),
    ({"min_pixels": 3136, "max_pixels": 12845056}, range(56, 3585, 28)),  # Qwen2-VL
    (
        {"size": {"shortest_edge": 65536, "longest_edge": 1 << 24}, "patch_size": 16},
        range(256, 4097, 32),
    ),
    (
        {"size": {"shortest_edge": 4000, "longest_edge": 9000}, "min_pixels": 5000},
        range(84, 95, 28),
    ),
]


@pytest.mark.parametrize(("settings", "sides"), SIDES, ids=str)
def test_squares_of_these_sides_keep_their_pixels(
    settings: dict[str, Any], sides: range, tmp_path: Path
) -> None:
    source = checkpoint(tmp_path, {"image_processor_type": "Qwen2VLImageProcessor"} | settings)
    found = square_sides(source)
    assert found == sides
    processor = Qwen2VLImageProcessorPil(**settings)
    patch = processor.patch_size
    for side in (found[0], found[min(len(found) - 1, 5)]):
        image = Image.effect_noise((side, side), 90).convert("RGB")
        spec, scaling = image_spec(source, side)
        assert np.array_equal(process(image, spec).pixels[0], np.asarray(image))
        theirs = processor(image)
        assert theirs["image_grid_thw"].tolist() == [[1, side // patch, side // patch]]
        mean, std = (np.reshape(v, (3, 1, 1)) for v in (scaling.mean, scaling.std))
        ours = (np.asarray(image).transpose(2, 0, 1) * scaling.scale - mean) / std
        patches, _, _ = processor.patchify(ours, patch, 2, 2)
        np.testing.assert_allclose(patches, theirs["pixel_values"], atol=2e-6)
    for side in (found[0] - found.step, found[-1] + found.step, found[0] + 1):
        resized = processor(Image.new("RGB", (side, side)))["image_grid_thw"][0]
        assert resized[1] * patch != side


def test_other_images_are_stretched_as_the_processor_resizes(tmp_path: Path) -> None:
    source = checkpoint(tmp_path, {"image_processor_type": "Qwen2VLImageProcessor"})
    spec, _ = image_spec(source, 112)
    image = Image.effect_noise((131, 77), 90).convert("RGB")
    expected = np.asarray(image.resize((112, 112), Image.Resampling.BICUBIC))
    # Columns first, where Pillow may choose rows first.
    assert np.abs(process(image, spec).pixels[0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    "settings",
    [
        {"min_pixels": 5000, "max_pixels": 5001},
        {"max_pixels": -1},
        {"patch_size": 0},
        {"merge_size": "2"},
        {"size": {"shortest_edge": 9}},
    ],
    ids=str,
)
def test_sizes_that_no_square_has_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    source = checkpoint(tmp_path, {"image_processor_type": "Qwen2VLImageProcessor"} | settings)
    with pytest.raises(InputError, match="checkpoint.setting"):
        square_sides(source)


def test_a_fixed_size_is_not_chosen(tmp_path: Path) -> None:
    source = checkpoint(tmp_path, {"image_processor_type": "ViTImageProcessor"})
    with pytest.raises(UnsupportedError, match="it has its own"):
        square_sides(source)


def test_a_processor_config_holds_the_settings_too(tmp_path: Path) -> None:
    CLASSES["Blip"]().save_pretrained(tmp_path / "a")
    inner = json.loads((tmp_path / "a" / "preprocessor_config.json").read_text())
    whole = {"image_processor": inner, "processor_class": "BlipProcessor"}
    found = image_spec(checkpoint(tmp_path, whole, "processor_config.json"))
    assert found == image_spec(Checkpoint(tmp_path / "a"))


def test_transparent_pixels_are_white_where_rgb_is_made(tmp_path: Path) -> None:
    spec, _ = image_spec(checkpoint(tmp_path, {"image_processor_type": "BlipImageProcessor"}))
    assert spec.background == 255
    spec, _ = image_spec(checkpoint(tmp_path, {"image_processor_type": "ViTImageProcessor"}))
    assert spec.background is None


@pytest.mark.parametrize(
    ("kind", "settings", "named"),
    [
        ("Gemma3", {"do_pan_and_scan": True}, "do_pan_and_scan"),
        ("LlavaNext", {}, "LlavaNextImageProcessor"),
        ("LlavaOnevision", {"image_grid_pinpoints": [[384, 768]]}, "without 384x384"),
        ("LlavaOnevision", {"size": {"height": 384, "width": 768}}, "without 384x768"),
        ("LlavaOnevision", {"crop_size": {"height": 9, "width": 9}}, "crop_size"),
        ("Llava", {"do_pad": True}, "do_pad"),
        ("Pix2Struct", {}, "known are those of ViT"),
        ("Qwen2VL", {}, "keep their shape"),
        ("Qwen2VL", {"do_pad": True}, "do_pad"),
        ("CLIP", {"do_pan_and_scan": True}, "do_pan_and_scan"),
        ("CLIP", {"do_center_crop": False}, "shortest_edge without do_center_crop"),
        ("CLIP", {"size": {"shortest_edge": 9, "longest_edge": 12}}, "size by longest_edge"),
        ("ViT", {"do_resize": False}, "do_resize"),
        ("ViT", {"do_pad": True}, "do_pad"),
        ("ViT", {"do_thumbnail": True}, "do_thumbnail"),
        ("ViT", {"size": {"max_height": 9, "max_width": 12}}, "size by max_height"),
        ("Donut", {"do_align_long_axis": True}, "do_align_long_axis"),
        ("Donut", {"do_pad": False}, "do_thumbnail and do_pad"),
        ("Idefics3", {"size": {"height": 9, "width": 9}}, "size by height"),
        ("Idefics3", {"do_center_crop": True}, "do_center_crop"),
    ],
)
def test_what_no_bundle_can_say_is_refused_by_name(
    kind: str, settings: dict[str, Any], named: str, tmp_path: Path
) -> None:
    given = {"image_processor_type": f"{kind}ImageProcessor"} | settings
    with pytest.raises(UnsupportedError) as caught:
        image_spec(checkpoint(tmp_path, given))
    assert caught.value.code == "checkpoint.unsupported"
    assert named in caught.value.message


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"image_processor_type": 3},
        {"image_processor_type": "ViTImageProcessor", "size": "large"},
        {"image_processor_type": "ViTImageProcessor", "size": {"height": "a", "width": 3}},
        {"image_processor_type": "ViTImageProcessor", "size": 1 << 30},
        {"image_processor_type": "ViTImageProcessor", "image_std": 0},
        {"image_processor_type": "ViTImageProcessor", "image_mean": [0.5]},
        {"image_processor_type": "ViTImageProcessor", "resample": 9},
        {"image_processor_type": "ViTImageProcessor", "rescale_factor": "1/255"},
    ],
    ids=str,
)
def test_nonsense_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError):
        image_spec(checkpoint(tmp_path, settings))


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff\xfe"])
def test_a_damaged_file_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_bytes(data)
    with pytest.raises(InputError, match=r"\[checkpoint.file\].*preprocessor_config.json"):
        image_spec(Checkpoint(tmp_path))


def test_a_missing_file_names_the_line_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(EdgecapError, match="AutoProcessor.from_pretrained.*save_pretrained"):
        image_spec(Checkpoint(tmp_path))
    with pytest.raises(InputError, match="checkpoint.missing"):
        Checkpoint(tmp_path / "absent")
