"""Images from anywhere, and one line for what cannot be read."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecap.core.errors import InputError
from edgecap.runtime.image_files import MAX_PIXELS, open_image

PIXELS = np.random.default_rng(2).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def encoded(format: str, image: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["array", "image", "bytes", "path", "text path", "memory view"])
def test_every_source_gives_the_same_pixels(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(encoded("PNG"))
    source: dict[str, Any] = {
        "array": PIXELS,
        "image": Image.fromarray(PIXELS),
        "bytes": encoded("PNG"),
        "path": path,
        "text path": str(path),
        "memory view": memoryview(encoded("PNG")),
    }
    np.testing.assert_array_equal(np.asarray(open_image(source[kind])), PIXELS)


@pytest.mark.parametrize(
    ("array", "mode"),
    [
        (np.ones((3, 4), bool), "L"),
        (np.full((3, 4), 65535, np.uint16), "L"),
        (np.ones((3, 4, 1), np.float32), "L"),
        (np.ones((3, 4, 4), np.float64), "RGBA"),
    ],
)
def test_arrays_of_other_types_are_scaled_to_bytes(array: np.ndarray, mode: str) -> None:
    image = open_image(array)
    assert image.mode == mode
    assert np.asarray(image).min() == 255


def test_the_mode_is_kept_and_orientation_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    grey = Image.fromarray(PIXELS[..., 0])
    image = open_image(encoded("PNG", grey, exif=exif))
    assert (image.mode, image.size) == ("L", (9, 7))
    np.testing.assert_array_equal(np.asarray(image), np.rot90(PIXELS[..., 0]))


def test_damaged_orientation_costs_nothing() -> None:
    image = open_image(encoded("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    assert image.size == (7, 9)


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (b"", "image.empty"),
        (b"not an image", "image.unreadable"),
        (encoded("PNG")[:20], "image.unreadable"),
        (encoded("PNG")[:60], "image.truncated"),
        (encoded("JPEG", Image.effect_noise((64, 64), 50))[:-400], "image.truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "image.unreadable"),
        (Path("/nowhere/image.png"), "image.missing"),
        (Path("/dev/null"), "image.missing"),
        ("a\0b", "image.missing"),
        (np.zeros((0, 4, 3), np.uint8), "image.array"),
        (np.zeros((4, 4, 2), np.uint8), "image.array"),
        (np.zeros((4, 4), np.int64), "image.array"),
        (np.full((4, 4), 2.0), "image.array"),
        (np.full((4, 4), np.nan), "image.array"),
        (Image.new("RGB", (0, 4)), "image.empty"),
        (3, "image.type"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_cannot_be_read_is_one_line(source: Any, code: str) -> None:
    with pytest.raises(InputError) as caught:
        open_image(source)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


def test_a_directory_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a directory"):
        open_image(tmp_path)


def test_a_pipe_is_refused_without_reading_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="device or a pipe"):
        open_image(tmp_path / "pipe")


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    side = int(MAX_PIXELS**0.5) + 2
    bomb = encoded("PNG", Image.new("1", (side, side)))
    assert len(bomb) < 1 << 20
    with pytest.raises(InputError, match=r"\[image.too_large\]"):
        open_image(bomb)


def test_threads_decode_side_by_side() -> None:
    data = encoded("PNG", Image.effect_noise((300, 300), 80))
    found: list[bytes] = []

    def work() -> None:
        for _ in range(5):
            found.append(open_image(data).tobytes())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert len(set(found)) == 1
