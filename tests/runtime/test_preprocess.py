"""Any image reaches the model_input; boxes come back to its pixels."""

import io
import json

import golden_images
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgecap.bundle.image_spec import letterboxed
from edgecap.runtime.preprocess import letterbox, preprocess, to_rgb

SIZES = st.integers(1, 25_000)
RED, GREY = [255, 0, 0], [127, 127, 127]


def encoded(image: Image.Image, format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


@given(width=SIZES, height=SIZES)
def test_the_image_lies_on_the_model_input_and_keeps_its_aspect(width: int, height: int) -> None:
    where = letterbox(width, height, 224)
    assert max(where.scaled_width, where.scaled_height) == 224
    assert min(where.scaled_width, where.scaled_height) >= 1
    for free, start in (
        (224 - where.scaled_width, where.left),
        (224 - where.scaled_height, where.top),
    ):
        assert start == free // 2
    if min(where.scaled_width, where.scaled_height) > 1:
        assert abs(where.scaled_width * height - where.scaled_height * width) <= max(width, height)


@given(width=SIZES, height=SIZES, edges=st.tuples(*[st.floats(0, 1)] * 4))
def test_boxes_come_back_from_the_model_input(
    width: int, height: int, edges: tuple[float, float, float, float]
) -> None:
    x0, y0, x1, y1 = edges
    box = (x0 * width, y0 * height, x1 * width, y1 * height)
    where = letterbox(width, height, 224)
    assert where.to_image(where.to_input(box)) == pytest.approx(box, abs=1e-6 * (width + height))


def test_boxes_are_clipped_to_the_image() -> None:
    assert letterbox(100, 50, 224).to_image((-10, -10, 500, 500)) == (0, 0, 100, 50)


def test_a_image_of_model_input_size_is_untouched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    model_input, where = preprocess(pixels)
    assert (model_input == pixels).all()
    assert where.to_image((4, 8, 12, 16)) == (4, 8, 12, 16)


def test_padding_is_grey_and_centred() -> None:
    model_input, _ = preprocess(np.full((50, 100, 3), RED, np.uint8))
    assert (model_input[56:168] == RED).all()
    assert (model_input[:56] == GREY).all()
    assert (model_input[168:] == GREY).all()


def test_constants_come_from_the_settings() -> None:
    settings = letterboxed(32, fill=9)
    model_input, _ = preprocess(np.full((1, 4, 3), RED, np.uint8), settings)
    assert model_input.shape == (32, 32, 3)
    assert (model_input[0, 0] == 9).all()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (20000, 20), (20, 20000), (3, 2)])
def test_odd_sizes(width: int, height: int) -> None:
    model_input, where = preprocess(Image.new("RGB", (width, height), "red"))
    assert (model_input[where.top, where.left] == RED).all()
    assert where.to_image((0, 0, 224, 224)) == (0, 0, width, height)


MODES = ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA", "RGBX"]
MODES += ["RGBa", "La", "I;16", "I;16B", "I;16L"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode(mode: str) -> None:
    model_input, _ = preprocess(Image.new(mode, (30, 20)))
    assert model_input.shape == (224, 224, 3)
    assert model_input.dtype == np.uint8


def gradient() -> np.ndarray:
    """uint8 [8,256,3], red from 0 to 255."""
    red = np.broadcast_to(np.arange(256, dtype=np.uint8), (8, 256))
    return np.stack([red, 255 - red, red // 2], -1)


@pytest.mark.parametrize("format_", ["PNG", "BMP", "TIFF", "PPM", "TGA"])
def test_lossless_files_read_exactly(format_: str) -> None:
    assert (np.asarray(to_rgb(encoded(Image.fromarray(gradient()), format_))) == gradient()).all()


def test_sixteen_bits_keep_their_high_byte() -> None:
    ramp = np.arange(256, dtype=np.uint16)[None].repeat(4, 0) * 256 + 37  # [4,256]
    as_file = encoded(Image.fromarray(ramp), "PNG")
    for image in (as_file, ramp, Image.fromarray(ramp), Image.fromarray(ramp.astype(np.int32))):
        assert (np.asarray(to_rgb(image))[..., 0] == ramp >> 8).all()


def test_palette_with_transparency_shows_grey_behind() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.paste(0, (0, 0, 2, 4))
    rgb = np.asarray(to_rgb(encoded(image, "PNG", transparency=0)))
    assert (rgb[0, 0] == GREY).all()
    assert (rgb[0, 3] == RED).all()


def test_half_transparent_pixels_mix_with_grey() -> None:
    rgba = np.full((2, 2, 4), (255, 0, 0, 128), np.uint8)
    assert np.asarray(to_rgb(rgba))[0, 0] == pytest.approx([191, 63, 63], abs=1)


def test_cmyk_jpeg() -> None:
    red = Image.new("RGB", (16, 16), "red").convert("CMYK")
    found = np.asarray(to_rgb(encoded(red, "JPEG")))[8, 8]
    assert found == pytest.approx(RED, abs=12)


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for format_ in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if format_ == "WEBP" else {}
        data = encoded(frames[0], format_, save_all=True, append_images=frames[1:], **options)
        assert (np.asarray(to_rgb(data))[4, 4] == RED).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int) -> None:
    # Displayed, the red corner is upper left and the image is 20 wide and 10 high.
    shown = np.full((10, 20, 3), 255, np.uint8)
    shown[:4, :6] = RED
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a.transpose(1, 0, 2)[::-1],
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: a[::-1].transpose(1, 0, 2),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](shown)))
    data = encoded(stored, "PNG", exif=exif)
    assert (np.asarray(to_rgb(data)) == shown).all()
    _, where = preprocess(data)
    assert (where.width, where.height) == (20, 10)


def test_damaged_exif_does_not_cost_the_image() -> None:
    data = encoded(Image.new("RGB", (8, 8), "red"), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff")
    assert to_rgb(data).size == (8, 8)


@pytest.mark.parametrize(
    "array",
    [
        gradient().astype(np.float32) / 255,
        gradient().astype(np.uint16) * 256,
        gradient()[:, ::-1][:, ::-1],
        np.dstack([gradient(), np.full((8, 256), 255, np.uint8)]),
    ],
    ids=["float", "uint16", "strided", "opaque alpha"],
)
def test_arrays_of_every_kind_give_the_same_image(array: np.ndarray) -> None:
    assert (np.asarray(to_rgb(array)) == gradient()).all()


def test_grey_and_boolean_arrays() -> None:
    mask = np.eye(5, dtype=bool)
    for array in (mask, mask.astype(np.uint8) * 255, mask[..., None]):
        assert (np.asarray(to_rgb(array))[..., 1] == mask * 255).all()


def test_the_given_image_is_not_changed() -> None:
    image = Image.new("RGBA", (10, 10), (255, 0, 0, 10))
    before = image.tobytes()
    preprocess(image)
    assert image.tobytes() == before
    assert image.mode == "RGBA"


def test_shrinking_averages_instead_of_picking() -> None:
    checks = (np.indices((896, 896)).sum(0) % 2 * 255).astype(np.uint8)
    model_input, _ = preprocess(checks)
    assert np.abs(model_input.astype(int) - 127).max() <= 2


def test_pixels_are_those_before_the_two_ways_became_one() -> None:
    expected = json.loads(golden_images.FILE.read_text())
    found = golden_images.hashes()
    assert {name for name in expected if found[name] != expected[name]} == set()
    assert found.keys() == expected.keys() and len(expected) > 140
