"""Photographs of 100 megapixels and more are read at reduced size, in bounded memory."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

from edgecap.core.errors import InputError
from edgecap.runtime.captions import Mention
from edgecap.runtime.draw import COLOURS, draw
from edgecap.runtime.image_arrays import MAX_PIXELS
from edgecap.runtime.image_files import load_image
from edgecap.runtime.image_large import MOST_PIXELS, read_reduced, shrink_factor
from edgecap.runtime.preprocess import preprocess, to_rgb


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def noise(width: int, height: int, channels: int = 3) -> np.ndarray:
    """Soft waves with noise, uint8 [height,width,channels]: each filter of PNG is of use."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([127 + 100 * np.sin(x / 19 * c + y / 23) for c in range(1, channels + 1)], -1)
    values = np.random.default_rng(0).normal(waves, 4)
    return values.clip(0, 255).astype(np.uint8)


def averaged(values: np.ndarray, k: int) -> np.ndarray:
    return np.asarray(Image.fromarray(values).reduce(k))


@pytest.mark.parametrize("k", [2, 4, 8])
@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_png_in_strips_is_the_whole_averaged(channels: int, mode: str, k: int) -> None:
    values = noise(301, 203, channels)
    image = Image.fromarray(values[..., 0] if channels == 1 else values)
    assert image.mode == mode
    data = encoded(image, "PNG", compress_level=9)
    got = read_reduced(opened(data), data, k, strip=5000)
    assert got is not None
    np.testing.assert_array_equal(np.asarray(got), np.asarray(image.reduce(k)))


@pytest.mark.parametrize("name", ["palette", "transparent palette", "colour key"])
def test_png_with_a_palette(name: str) -> None:
    image = Image.fromarray(noise(90, 70))
    palette = image.quantize(30)
    options: dict[str, Any] = {"transparency": 3} if name == "transparent palette" else {}
    if name == "colour key":
        options = {"transparency": (127, 127, 127)}
    stored = image if name == "colour key" else palette
    data = encoded(stored, "PNG", **options)
    got = read_reduced(opened(data), data, 2)
    whole = opened(data).convert("RGBA" if options else "RGB")
    assert got is not None and got.mode == whole.mode
    np.testing.assert_array_equal(np.asarray(got), np.asarray(whole.reduce(2)))


@pytest.mark.parametrize("format", ["PPM", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_uncompressed_files_in_strips(format: str, mode: str) -> None:
    image = Image.fromarray(noise(301, 203)).convert(mode)
    data = encoded(image, format)
    got = read_reduced(opened(data), data, 4, strip=5000)
    assert got is not None
    np.testing.assert_array_equal(np.asarray(got), np.asarray(image.reduce(4)))


def test_jpeg_2000_reads_its_lower_resolution() -> None:
    image = Image.fromarray(noise(256, 192))
    data = encoded(image, "JPEG2000")
    got = read_reduced(opened(data), data, 4)
    assert got is not None and got.size == (64, 48)
    levels = np.asarray(got).astype(int) - averaged(noise(256, 192), 4)
    assert np.abs(levels).mean() < 20  # the wavelet's samples lie half a pixel beside


def test_what_cannot_be_read_in_parts_is_said() -> None:
    image = Image.fromarray(noise(64, 64))
    deep = image.convert("L").convert("I;16")
    for data in (
        encoded(image, "WEBP"),
        encoded(image, "TIFF", compression="tiff_lzw"),
        encoded(deep, "PNG"),
        encoded(image.convert("1"), "PNG"),
    ):
        assert read_reduced(opened(data), data, 2) is None


def test_a_png_that_ends_early_is_truncated() -> None:
    data = encoded(Image.fromarray(noise(301, 203)), "PNG")
    with pytest.raises(OSError, match="truncated"):
        read_reduced(opened(data), data[: len(data) // 2], 2)


def test_as_much_is_left_as_any_model_takes() -> None:
    assert shrink_factor(9500, 9500) == 2
    assert shrink_factor(16384, 16384) == 4
    assert shrink_factor(23000, 23000) == 4
    assert shrink_factor(40000, 27000) == 8


def big_jpeg(width: int, height: int) -> bytes:
    """A grey JPEG with a bright left half, made of one strip so that no memory is taken here."""
    image = Image.new("L", (width, height), 40)
    image.paste(200, (0, 0, width // 2, height))
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image, "JPEG", exif=exif)


def test_a_photograph_of_100_megapixels() -> None:
    data = big_jpeg(12000, 9000)
    loaded = load_image(data)
    assert (loaded.width, loaded.height) == (9000, 12000)  # turned upright
    assert loaded.image.size == (4500, 6000)
    assert loaded.notes == ("12000 x 9000 = 108,000,000 pixels; read at 1/2 of its size",)
    model_input, where = preprocess(data)
    assert (where.width, where.height) == (9000, 12000)
    assert (where.scaled_width, where.scaled_height) == (168, 224)
    assert abs(int(model_input[40, 112, 0]) - 200) < 3  # the left half lies above now
    assert abs(int(model_input[180, 112, 0]) - 40) < 3
    assert where.to_image((28, 0, 196, 224)) == (0, 0, 9000, 12000)
    with pytest.raises(InputError, match=r"too large to be shown whole"):
        to_rgb(data)
    below = Mention("lower half", (0, 1), ((0.0, 6000.0, 9000.0, 12000.0),), (0.9,))
    drawn = draw(data, [below]).image  # at half the size, as are the boxes
    assert drawn.size == (4500, 6000)
    assert drawn.getpixel((2250, 3005)) == ImageColor.getrgb(COLOURS[0])


def png_of_lines(width: int, height: int) -> bytes:
    """A PNG [height,width,3], black above, white below, deflated line by line."""
    pack = zlib.compressobj(1)
    body = b"".join(
        pack.compress(b"\0" + (b"\xff" if y >= height // 2 else b"\0") * (3 * width))
        for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", body + pack.flush()), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


PEAK = """
import resource, sys
from edgecap.runtime.preprocess import preprocess
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model_input, where = preprocess(sys.argv[1])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(where.width, where.height, model_input[112, 0, 0], model_input[112, 223, 0])
print((after - before) // 1024)
"""


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_panorama_takes_little_memory(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"panorama.{kind}"
    if kind == "png":
        file.write_bytes(png_of_lines(40_000, 2_500))
    else:
        file.write_bytes(encoded(Image.new("RGB", (40_000, 2_500), (9, 9, 9)), "JPEG"))
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(file)], capture_output=True, text=True, check=True
    )
    first, mebibytes = done.stdout.splitlines()
    assert first.startswith("40000 2500 ")
    assert int(mebibytes) < 260  # whole it is 382 MiB, and as much again for each step


def test_beyond_that_it_is_refused_in_a_whole_sentence() -> None:
    side = int(MOST_PIXELS**0.5) + 100
    with pytest.raises(InputError) as caught:
        load_image(encoded_header(side, side))
    assert caught.value.code == "image.too_large"
    assert f"{side} x {side} = {side * side:,} pixels; at most {MOST_PIXELS:,} are decoded" in str(
        caught.value
    )
    with pytest.raises(InputError, match=rf"at most {MAX_PIXELS:,} are decoded of such a PNG file"):
        load_image(encoded_header(10_000, 10_000))


def encoded_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    return (
        png_of_lines(1, 1)
        .replace(b"IHDR" + struct.pack(">II", 1, 1), b"IHDR" + struct.pack(">II", width, height))
        .replace(
            png_of_lines(1, 1)[29:33],
            struct.pack(
                ">I", zlib.crc32(b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            ),
        )
    )
