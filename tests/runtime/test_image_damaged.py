"""Image files of which a part is missing, or whose values nobody can place."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecap.core.errors import InputError
from edgecap.runtime.image_files import load_image, open_image
from edgecap.runtime.preprocess import preprocess, to_rgb

NOISE = Image.effect_noise((200, 120), 50)


def encoded(format: str, image: Image.Image = NOISE, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def refusal(data: bytes) -> InputError:
    with pytest.raises(InputError) as caught:
        preprocess(data)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("progressive", [False, True])
def test_zeros_of_an_interrupted_copy_are_no_pixels(progressive: bool) -> None:
    whole = encoded("JPEG", progressive=progressive)
    half = len(whole) // 2
    error = refusal(whole[:half] + bytes(len(whole) - half))  # of the right size
    assert (error.code, error.hint) == ("image.truncated", "Copy or save it again.")
    assert load_image(whole + bytes(5000)).notes == ()  # behind the end they mean nothing


def test_half_of_the_marker_at_the_end_is_as_good_as_none() -> None:
    whole = encoded("JPEG")
    loaded = load_image(whole[:-1])
    assert loaded.notes == ("the marker at its end is missing; every pixel was there",)
    assert loaded.image.tobytes() == open_image(whole).tobytes()


@pytest.mark.parametrize("behind", [b"MotionPhoto_Data\0\0\0\x18ftypmp42" + b"x" * 999, b"jpeg"])
def test_what_phones_append_to_a_photograph_costs_nothing(behind: bytes) -> None:
    whole = encoded("JPEG", NOISE.convert("RGB"))
    gain_map = encoded("JPEG", NOISE.reduce(4)) if behind == b"jpeg" else behind
    assert open_image(whole + gain_map).tobytes() == open_image(whole).tobytes()


@pytest.mark.parametrize("format", ["WEBP", "AVIF", "JPEG2000", "PNG", "GIF", "TIFF"])
def test_half_a_file_is_named_and_to_be_copied_again(format: str) -> None:
    data = encoded(format, NOISE.convert("RGB"))
    error = refusal(data[: len(data) // 2])
    assert error.code in ("image.truncated", "image.unreadable")
    assert error.hint == "Copy or save it again." and "damaged" in error.message


def test_a_kind_of_pixels_that_is_not_read_is_told_with_its_reason() -> None:
    import cv2

    colors = np.zeros((4, 4, 3), np.float32)
    error = refusal(cv2.imencode(".tif", colors)[1].tobytes())
    assert "is a TIFF file that is damaged or of a kind that is not read: unknown pixel mode" in (
        error.message
    )


def test_floats_are_fractions_or_bytes_and_never_all_white() -> None:
    ramp = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    expected = np.rint(ramp * 255).astype(np.uint8)
    sharpened = ramp.copy()
    sharpened[0, 0], sharpened[2, 3] = -0.05, 1.05
    for values in (ramp, sharpened, ramp * 255):
        rgb = np.asarray(to_rgb(encoded("TIFF", Image.fromarray(values))))
        np.testing.assert_array_equal(rgb[..., 0], expected)
    error = refusal(encoded("TIFF", Image.fromarray(ramp * 65535)))
    assert "values of up to 65,535 in floats; up to 255 are read" in error.message
