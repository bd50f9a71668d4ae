"""Image processing by an ImageSpec gives the pixels of transformers' own PIL processors."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from resampling import resize
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.donut.image_processing_pil_donut import DonutImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from edgecap.bundle.image_spec import FILTERS, Crops, ImageSpec
from edgecap.core.errors import EdgecapError
from edgecap.runtime.image_processing import process

_pillow_resize = Image.Image.resize


def columns_first(
    image: Image.Image, size: tuple[int, int], resample: Any = None, **more: Any
) -> Image.Image:
    """Pillow's resize in the order that every version before 13 has."""
    assert not any(value is not None for value in more.values())
    return _pillow_resize(_pillow_resize(image, (size[0], image.height), resample), size, resample)


@pytest.fixture(autouse=True)
def older_pillow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow 13 may take rows first, and no older one can be installed beside it."""
    if "as_installed" not in request.keywords:
        monkeypatch.setattr(Image.Image, "resize", columns_first)


RAW = {"do_rescale": False, "do_normalize": False}  # leaves uint8 pixels
WHITE = {"background": 255}


def smooth(mode: str, width: int, height: int, seed: int = 0) -> Image.Image:
    """An image with gradients, edges and noise, so that no two filters agree on it."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 120 * np.sin(x * 0.21 * k + y * 0.13 + k) for k in (1, 2, 3, 0.5)]
    noise = generator.integers(-60, 60, (height, width, 4))
    rgba = np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)  # [h,w,4]
    if mode in ("I;16", "I", "F"):
        wide = rgba[..., 0].astype(np.float32) * 3  # beyond 255 in places
        wide = np.minimum(wide, 280) if mode == "F" else wide  # brighter floats are refused
        return Image.fromarray(wide.astype({"I;16": "u2", "I": "i4", "F": "f4"}[mode]))
    image = Image.fromarray(rgba)
    if mode == "P+transparency":
        image = image.convert("RGB").quantize(40)
        image.info["transparency"] = 3
        return image
    return image.convert("RGB").convert(mode) if mode == "P" else image.convert(mode)


SHAPES = [(64, 48), (1, 1), (1, 37), (300, 1), (33, 250), (500, 47), (224, 224), (225, 223)]
MODES = ["RGB", "L", "LA", "RGBA", "P", "P+transparency", "1", "CMYK", "I;16", "I", "F", "YCbCr"]

CASES: dict[str, tuple[Any, ImageSpec]] = {
    "ViT": (ViTImageProcessorPil(**RAW), ImageSpec((224, 224), "stretch", "bilinear")),
    "BLIP": (BlipImageProcessorPil(**RAW), ImageSpec((384, 384), "stretch", "bicubic", **WHITE)),
    "CLIP": (
        CLIPImageProcessorPil(**RAW),
        ImageSpec((224, 224), "cover", "bicubic", crop=(224, 224), **WHITE),
    ),
    "CLIP, odd crop": (
        CLIPImageProcessorPil(
            size={"shortest_edge": 61}, crop_size={"height": 50, "width": 57}, **RAW
        ),
        ImageSpec((61, 61), "cover", "bicubic", crop=(50, 57), **WHITE),
    ),
    "CLIP, crop beyond the image": (
        CLIPImageProcessorPil(
            size={"shortest_edge": 41}, crop_size={"height": 50, "width": 57}, **RAW
        ),
        ImageSpec((41, 41), "cover", "bicubic", crop=(50, 57), **WHITE),
    ),
    "Kosmos-2": (
        CLIPImageProcessorPil(use_square_size=True, **RAW),
        ImageSpec((224, 224), "stretch", "bicubic", crop=(224, 224), **WHITE),
    ),
    "Florence-2": (
        CLIPImageProcessorPil(size={"height": 768, "width": 768}, do_center_crop=False, **RAW),
        ImageSpec((768, 768), "stretch", "bicubic", **WHITE),
    ),
    "SigLIP, PaliGemma": (
        SiglipImageProcessorPil(**RAW),
        ImageSpec((224, 224), "stretch", "bicubic", **WHITE),
    ),
    "Lanczos": (
        ViTImageProcessorPil(resample=Image.Resampling.LANCZOS, do_convert_rgb=True, **RAW),
        ImageSpec((224, 224), "stretch", "lanczos", **WHITE),
    ),
    "nearest": (
        ViTImageProcessorPil(resample=Image.Resampling.NEAREST, **RAW),
        ImageSpec((224, 224), "stretch", "nearest"),
    ),
    "box": (
        ViTImageProcessorPil(resample=Image.Resampling.BOX, **RAW),
        ImageSpec((224, 224), "stretch", "box"),
    ),
    "Hamming": (
        ViTImageProcessorPil(resample=Image.Resampling.HAMMING, **RAW),
        ImageSpec((224, 224), "stretch", "hamming"),
    ),
    "Donut": (
        DonutImageProcessorPil(size={"height": 128, "width": 96}, **RAW),
        ImageSpec((128, 96), "thumbnail", "bilinear"),
    ),
    "Donut, landscape": (
        DonutImageProcessorPil(size={"height": 90, "width": 128}, **RAW),
        ImageSpec((90, 128), "thumbnail", "bilinear"),
    ),
}
SPLITTING: dict[str, tuple[Any, ImageSpec]] = {
    name: (
        kind(
            size={"longest_edge": longest},
            max_image_size={"longest_edge": side},
            do_image_splitting=split,
            do_pad=False,
            return_row_col_info=True,
            **RAW,
        ),
        ImageSpec((longest, longest), "longest_edge", "lanczos", crops=Crops(side, split), **WHITE),
    )
    for name, kind, longest, side, split in [
        ("Idefics3", Idefics3ImageProcessorPil, 4 * 52, 52, True),
        ("Idefics3, whole", Idefics3ImageProcessorPil, 4 * 52, 52, False),
        ("SmolVLM", SmolVLMImageProcessorPil, 150, 51, True),
        ("SmolVLM, one cell", SmolVLMImageProcessorPil, 52, 52, True),
        ("SmolVLM, odd edge", SmolVLMImageProcessorPil, 151, 50, True),
    ]
}


def own(processor: Any, image: Image.Image) -> np.ndarray:
    """The processor's pixels [n,h,w,3]."""
    pixels = processor(image)["pixel_values"]
    crops = pixels[0] if isinstance(pixels[0], list) else pixels
    return np.stack([np.moveaxis(np.asarray(crop), 0, -1) for crop in crops])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (name, shape)
        for name in CASES
        for shape in SHAPES
        # transformers' own thumbnail fails where a side becomes 0.
        if not (name.startswith("Donut") and shape == (300, 1))
    ],
    ids=str,
)
def test_pixels_equal_those_of_transformers(name: str, shape: tuple[int, int]) -> None:
    processor, spec = CASES[name]
    image = smooth("RGB", *shape)
    got = process(image, spec)
    assert got.pixels.dtype == np.uint8
    assert got.pixels.flags.c_contiguous
    assert got.pixels.shape == (1, *spec.input_size, 3)
    np.testing.assert_array_equal(got.pixels, own(processor, image))


@pytest.mark.parametrize("name", SPLITTING)
@pytest.mark.parametrize("shape", SHAPES[:-2] + [(640, 480), (53, 640)], ids=str)
def test_crops_equal_those_of_transformers(name: str, shape: tuple[int, int]) -> None:
    processor, spec = SPLITTING[name]
    image = smooth("RGB", *shape)
    expected = processor(image)
    got = process(image, spec)
    np.testing.assert_array_equal(got.pixels, own(processor, image))
    assert got.grid == (expected["rows"][0][0], expected["cols"][0][0])


@pytest.mark.parametrize("name", ["BLIP", "CLIP"])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_the_rgb_of_transformers(name: str, mode: str) -> None:
    processor, spec = CASES[name]
    image = smooth(mode, 70, 51)
    np.testing.assert_array_equal(process(image, spec).pixels, own(processor, image))


@pytest.mark.as_installed
@pytest.mark.parametrize("name", [*CASES, *SPLITTING])
def test_pixels_equal_those_of_transformers_as_installed(name: str) -> None:
    """Whatever the version: to the bit for a wide image, nearly for a tall one that is shrunk."""
    processor, spec = (CASES | SPLITTING)[name]
    wide, tall = smooth("RGB", 500, 347), smooth("RGB", 60, 500)
    np.testing.assert_array_equal(process(wide, spec).pixels, own(processor, wide))
    levels = process(tall, spec).pixels.astype(int) - own(processor, tall)
    assert np.abs(levels).mean() < 1  # of 255; what overshoots is clipped in another order


@pytest.mark.as_installed
@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("shape", [(64, 48), (1, 37), (300, 1), (33, 250), (500, 47)], ids=str)
def test_resizing_is_the_arithmetic_written_down_for_ports(
    filter: str, shape: tuple[int, int]
) -> None:
    image = smooth("RGB", *shape)
    for height, width in [(37, 50), (120, 31), (1, 1), (shape[1], 77)]:
        got = process(image, ImageSpec((height, width), "stretch", filter)).pixels[0]
        np.testing.assert_array_equal(got, resize(np.asarray(image), height, width, filter))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    edge=st.integers(1, 90),
    crop=st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
def test_cover_equals_transformers_at_any_size(
    width: int, height: int, edge: int, crop: tuple[int, int]
) -> None:
    size = {"height": crop[0], "width": crop[1]}
    processor = CLIPImageProcessorPil(size={"shortest_edge": edge}, crop_size=size, **RAW)
    image = smooth("RGB", width, height)
    spec = ImageSpec((edge, edge), "cover", "bicubic", crop=crop)
    np.testing.assert_array_equal(process(image, spec).pixels, own(processor, image))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    longest=st.integers(20, 120),
    side=st.integers(8, 60),
)
def test_splitting_equals_transformers_at_any_size(
    width: int, height: int, longest: int, side: int
) -> None:
    processor = Idefics3ImageProcessorPil(
        size={"longest_edge": longest},
        max_image_size={"longest_edge": side},
        do_pad=False,
        **RAW,
    )
    image = smooth("RGB", width, height)
    spec = ImageSpec((longest, longest), "longest_edge", "lanczos", crops=Crops(side, True))
    np.testing.assert_array_equal(process(image, spec).pixels, own(processor, image))


REFERENCE = ImageSpec((224, 224), "contain", "bilinear", background=127, wide="high_byte", fill=127)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(64, 48), (1, 37), (500, 47), (224, 224)], ids=str)
def test_the_reference_is_described_to_the_bit(mode: str, shape: tuple[int, int]) -> None:
    from edgecap.runtime.preprocess import preprocess

    image = smooth(mode, *shape)
    expected, where = preprocess(image)
    got = process(image, REFERENCE)
    np.testing.assert_array_equal(got.pixels[0], expected)
    assert vars(got.placement) == vars(where)


def test_background_none_drops_alpha_as_load_image_does() -> None:
    image = smooth("RGBA", 20, 20)
    spec = ImageSpec((20, 20), "stretch", "bilinear")
    np.testing.assert_array_equal(process(image, spec).pixels[0], image.convert("RGB"))


def test_bgr_turns_the_channels() -> None:
    image = smooth("RGB", 20, 30)
    rgb = process(image, ImageSpec((16, 16), "stretch", "bicubic")).pixels
    bgr = process(image, ImageSpec((16, 16), "stretch", "bicubic", channels="BGR")).pixels
    np.testing.assert_array_equal(bgr, rgb[..., ::-1])
    assert bgr.flags.c_contiguous


def test_a_file_is_turned_upright() -> None:
    image = smooth("RGB", 40, 20)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    spec = ImageSpec((40, 20), "stretch", "bilinear")
    upright = image.transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(process(file.getvalue(), spec).pixels[0], upright)


@pytest.mark.parametrize(
    "spec",
    [
        REFERENCE,
        ImageSpec((60, 60), "cover", "bicubic", crop=(50, 57)),
        ImageSpec((41, 41), "cover", "bicubic", crop=(50, 57)),
        ImageSpec((64, 32), "stretch", "bicubic"),
        ImageSpec((64, 48), "thumbnail", "bilinear"),
        ImageSpec((208, 208), "longest_edge", "lanczos", crops=Crops(52, True)),
    ],
    ids=["contain", "cover", "cover, padded", "stretch", "thumbnail", "crops"],
)
@pytest.mark.parametrize("shape", [(320, 200), (90, 400)], ids=str)
def test_boxes_find_the_way_back(spec: ImageSpec, shape: tuple[int, int]) -> None:
    """A red block in the image, found in the input, maps back to where it was drawn."""
    width, height = shape
    pixels = np.zeros((height, width, 3), np.uint8)
    x0, y0, x1, y1 = width // 2 - 20, height // 2 - 12, width // 2 + 16, height // 2 + 18
    pixels[y0:y1, x0:x1, 0] = 255
    got = process(Image.fromarray(pixels), spec)
    red = got.pixels[-1, ..., 0] > 191  # [h,w], in the crop that shows all
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    found = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    back = got.placement.to_image(tuple(map(float, found)))
    step = max(width / got.placement.scaled_width, height / got.placement.scaled_height)
    np.testing.assert_allclose(back, (x0, y0, x1, y1), atol=step)
    there = got.placement.to_input((x0, y0, x1, y1))
    np.testing.assert_allclose(got.placement.to_image(there), (x0, y0, x1, y1), atol=1e-9)


def test_an_elongated_image_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(EdgecapError, match=r"\[image.elongated\].*1 x 60000 px"):
        process(
            Image.new("RGB", (1, 60000)), ImageSpec((224, 224), "cover", "bicubic", crop=(224, 224))
        )
