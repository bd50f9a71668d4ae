"""Colours come out as sRGB: embedded profiles, 12 and 16 bits, in files as people have them."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from icc import ADOBE, P3, SRGB, cmyk_profile, grey_profile, rgb_profile, to_xyz
from PIL import Image

from edgecap.core.errors import InputError
from edgecap.runtime.image_files import open_image
from edgecap.runtime.preprocess import preprocess, to_rgb

COLOURS = np.array([[200, 60, 40], [60, 180, 70], [50, 70, 190], [128, 128, 128], [250, 250, 250]])


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def patches(values: np.ndarray) -> Image.Image:
    """Colours uint8 [n,3] as squares of 16 px."""
    return Image.fromarray(np.repeat(np.repeat(values[None].astype(np.uint8), 16, 0), 16, 1))


def shown(image: Image.Image) -> np.ndarray:
    """The colour in the middle of each square, [n,3]."""
    return np.asarray(image.convert("RGB"))[8, 8::16].astype(int)


def in_srgb(values: np.ndarray, primaries: Any, gamma: float) -> np.ndarray:
    """What these values are in sRGB, by the definitions of the two spaces."""
    linear = (values / 255) ** gamma @ to_xyz(primaries).T @ np.linalg.inv(to_xyz(SRGB)).T
    linear = linear.clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(curved * 255).astype(int)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(("name", "primaries"), [("Display P3", P3), ("Adobe RGB (1998)", ADOBE)])
def test_wide_colours_become_srgb(format: str, name: str, primaries: Any) -> None:
    profile = rgb_profile(primaries, 2.2, name)
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    data = encoded(patches(COLOURS), format, icc_profile=profile, **options.get(format, {}))
    found = shown(open_image(data))
    np.testing.assert_allclose(found, in_srgb(COLOURS, primaries, 2.2), atol=4)
    assert np.abs(found - COLOURS).max() > 15  # and that is not what stands in the file


def test_transparency_and_palettes_keep_their_profile() -> None:
    profile = rgb_profile(P3, 2.2)
    expected = in_srgb(COLOURS, P3, 2.2)
    rgba = patches(COLOURS).convert("RGBA")
    rgba.putalpha(200)
    image = open_image(encoded(rgba, "PNG", icc_profile=profile))
    assert image.mode == "RGBA" and image.getpixel((0, 0))[3] == 200  # type: ignore[index]
    np.testing.assert_allclose(shown(image), expected, atol=4)
    palette = patches(COLOURS).quantize(16)
    np.testing.assert_allclose(
        shown(open_image(encoded(palette, "PNG", icc_profile=profile))), expected, atol=4
    )
    keyed = encoded(patches(COLOURS), "PNG", icc_profile=profile, transparency=(200, 60, 40))
    found = np.asarray(to_rgb(keyed, fill=9))[8, 8::16]
    assert (found[0] == 9).all()
    np.testing.assert_allclose(found[1:].astype(int), expected[1:], atol=4)


def test_grey_with_a_profile_keeps_its_tone() -> None:
    grey = patches(COLOURS).convert("L")
    found = shown(open_image(encoded(grey, "PNG", icc_profile=grey_profile(1.0))))
    linear = np.asarray(grey)[8, 8::16] / 255
    expected = (1.055 * linear ** (1 / 2.4) - 0.055) * 255
    np.testing.assert_allclose(found[:, 1], expected, atol=2)


def test_inks_are_converted_by_their_profile() -> None:
    inks = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
    plain = shown(open_image(encoded(inks, "TIFF")))[0]
    assert list(plain) == [0, 255, 255]
    by_profile = shown(open_image(encoded(inks, "TIFF", icc_profile=cmyk_profile())))[0]
    lab = np.array([255 * 0.7 / 2.55, -100, 0])  # what the profile says of the first ink
    assert by_profile[1] > by_profile[0] + 80 and np.abs(by_profile - plain).max() > 20, lab


@pytest.mark.parametrize("profile", [b"no profile", rgb_profile(P3, 2.2)[:200], cmyk_profile()])
def test_a_profile_that_is_damaged_or_for_other_images_costs_nothing(profile: bytes) -> None:
    data = encoded(patches(COLOURS), "PNG", icc_profile=profile)
    np.testing.assert_array_equal(shown(open_image(data)), COLOURS)


def test_srgb_itself_changes_no_pixel() -> None:
    data = encoded(patches(COLOURS), "PNG", icc_profile=rgb_profile(SRGB, 2.2, "sRGB IEC61966-2.1"))
    np.testing.assert_array_equal(shown(open_image(data)), COLOURS)


def tiff(values: bytes, width: int, height: int, bits: int, order: str = "<") -> bytes:
    """An uncompressed grey TIFF whose rows are given as they lie in the file."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, 1)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, len(values))]
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(values))
    entries = b""
    for tag, kind, value in tags:
        number = (
            struct.pack(f"{order}I", value) if kind == 4 else struct.pack(f"{order}HH", value, 0)
        )
        entries += struct.pack(f"{order}HHI", tag, kind, 1) + number
    return head + values + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("darkest", [100, 5000], ids=["dark", "bright"])
def test_sixteen_bits_are_the_same_in_either_byte_order(darkest: int) -> None:
    ramp = np.linspace(0, darkest, 64 * 48).astype(np.uint16).reshape(48, 64)
    little = preprocess(tiff(ramp.astype("<u2").tobytes(), 64, 48, 16))[0]
    big = preprocess(tiff(ramp.astype(">u2").tobytes(), 64, 48, 16, ">"))[0]
    np.testing.assert_array_equal(little, big)


def test_twelve_bits_are_not_black() -> None:
    ramp = np.arange(64 * 48).reshape(48, 64) * 4095 // (64 * 48 - 1)  # 0 ... 4095
    in_sixteen = tiff(ramp.astype("<u2").tobytes(), 64, 48, 16)
    pairs = ramp.reshape(-1, 2)  # two values in three bytes
    packed = np.stack(
        [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1
    ).astype(np.uint8)
    for data in (in_sixteen, tiff(packed.tobytes(), 64, 48, 12)):
        np.testing.assert_array_equal(np.asarray(to_rgb(data))[..., 0], ramp >> 4)


def test_a_dark_file_that_says_it_has_twelve_bits_stays_dark() -> None:
    dark = np.full((4, 4), 0x123, np.uint16)
    dark[0, 0] = 0x0FF
    packed = b"".join(
        bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in dark.reshape(-1, 2).tolist()
    )
    assert np.asarray(to_rgb(tiff(packed, 4, 4, 12)))[1, 1, 0] == 0x12


def test_thirty_two_bits_are_refused_and_not_all_white() -> None:
    file = io.BytesIO()
    values = (np.arange(12, dtype=np.int32) * 100_000).reshape(3, 4)
    Image.fromarray(values).save(file, "TIFF")
    with pytest.raises(InputError, match="values of up to 1,100,000 in 32 bits") as caught:
        preprocess(file.getvalue())
    assert caught.value.code == "image.unreadable"
