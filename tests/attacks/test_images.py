"""Images nobody should send: each is one clear line, and none crashes."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgecap.core.errors import InputError
from edgecap.runtime.preprocess import MAX_PIXELS, preprocess


def encoded(format_: str, size: tuple[int, int] = (64, 64)) -> bytes:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format_)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int) -> bytes:
    """A valid PNG that claims a size and holds next to nothing: a decompression bomb."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def text_bomb() -> bytes:
    """A small PNG whose text chunk unpacks to 100 MB."""
    packed = zlib.compress(b"x" * (100 << 20), 9)
    good = encoded("PNG", (2, 2))
    return good[:33] + chunk(b"zTXt", b"note\0\0" + packed) + good[33:]


def refusal(image: object) -> InputError:
    with pytest.raises(InputError) as caught:
        preprocess(image)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return caught.value


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (b"", "image.empty"),
        (b"hello, I am no image", "image.unreadable"),
        (b"\x89PNG\r\n\x1a\n", "image.unreadable"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "image.unreadable"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image.unreadable"),
        (png_header(10_000, 10_000), "image.too_large"),
        (png_header(60_000, 60_000), "image.too_large"),
        (png_header(0, 5), "image.unreadable"),
        (text_bomb(), "image.unreadable"),
        (None, "image.type"),
        (3.5, "image.type"),
        ({"image": 1}, "image.type"),
        (np.zeros((0, 5, 3), np.uint8), "image.array"),
        (np.zeros((5, 5, 2), np.uint8), "image.array"),
        (np.zeros(7, np.uint8), "image.array"),
        (np.zeros((2, 2, 2, 3), np.uint8), "image.array"),
        (np.full((4, 4), np.nan), "image.array"),
        (np.full((4, 4), 7.0), "image.array"),
        (np.zeros((4, 4), np.int64), "image.array"),
        (np.zeros((4, 4), complex), "image.array"),
        (np.array([["a", "b"]]), "image.array"),
        (np.broadcast_to(np.uint8(0), (MAX_PIXELS, 2)), "image.too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_is_refused_by_name(image: object, code: str) -> None:
    assert refusal(image).code == code


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_file_cut_anywhere_is_refused_or_read(format_: str) -> None:
    data = encoded(format_)
    refused = 0
    for length in range(0, len(data), max(1, len(data) // 40)):
        try:
            model_input, _ = preprocess(data[:length])
        except InputError as error:
            assert error.code in ("image.empty", "image.truncated", "image.unreadable")
            refused += 1
        else:
            assert model_input.shape == (224, 224, 3)
    assert refused > 20


@given(
    format_=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
)
@settings(max_examples=200, deadline=None)
def test_damaged_bytes_never_crash(format_: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(encoded(format_, (16, 16)))
    for where, value in changes:
        data[int(where * (len(data) - 1))] = value
    try:
        model_input, _ = preprocess(bytes(data))
    except InputError:
        return
    assert model_input.shape == (224, 224, 3)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    for path in (tmp_path / "no.png", tmp_path, "nul\0byte"):
        assert refusal(path).code == "image.missing"
    assert refusal("https://example.org/a.png").code == "image.url"


def test_the_largest_image_allowed_is_read() -> None:
    model_input, where = preprocess(png_of_zeros(20_000, 4_473))
    assert where.width == 20_000
    assert model_input.max() == 127


def png_of_zeros(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(height * (1 + (width + 7) // 8)), 1)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_no_memory_is_not_the_images_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(image: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(MemoryError):
        preprocess(encoded("BMP"))


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for name in (tmp_path / "pipe.png", Path("/dev/zero")):
        assert refusal(name).code == "image.missing"
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(2 << 30)  # takes no room on the disk
    assert refusal(huge).code == "image.too_large"
