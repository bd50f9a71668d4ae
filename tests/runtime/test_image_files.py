"""Images from anywhere, and one line for what cannot be read."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image, TiffImagePlugin

from edgecap.core.errors import InputError
from edgecap.runtime.image_arrays import MAX_PIXELS
from edgecap.runtime.image_files import is_image, load_image, open_image
from edgecap.runtime.image_plugins import formats_read

PIXELS = np.random.default_rng(2).integers(0, 256, (9, 7, 3), dtype=np.uint8)
GRADIENT = Image.merge(
    "RGB",
    [Image.linear_gradient("L").resize((48, 64))] * 2
    + [Image.linear_gradient("L").rotate(90).resize((48, 64))],
)


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
        (encoded("PNG")[:20], "image.truncated"),
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
    """While one image is being decoded, another is decoded from start to end."""
    begun, go_on = threading.Event(), threading.Event()
    found: list[Image.Image] = []

    class Slow(Image.Image):
        def load(self) -> Any:
            begun.set()
            assert go_on.wait(60)
            return super().load()

    slow = Slow()
    slow.__dict__.update(Image.fromarray(PIXELS).__dict__)
    thread = threading.Thread(target=lambda: found.append(open_image(slow)))
    thread.start()
    assert begun.wait(60)
    for format in ("PNG", "JPEG", "GIF", "TIFF"):
        assert open_image(encoded(format)).size == (7, 9)
    assert found == []
    go_on.set()
    thread.join()
    np.testing.assert_array_equal(np.asarray(found[0]), PIXELS)


def test_many_threads_give_the_same_pixels() -> None:
    data = encoded("PNG", Image.effect_noise((300, 300), 80))
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: open_image(data).tobytes(), range(20)))
    assert len(found) == 1


def test_the_warnings_of_others_stay() -> None:
    odd = encoded("TIFF") + b"odd"
    palette = encoded("PNG", Image.fromarray(PIXELS).quantize(8), transparency=b"\1\2\3")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for data in (odd, palette):
            open_image(data)
        for _ in range(5):
            open_image(PIXELS)
        warnings.warn("mine", UserWarning, stacklevel=1)
        assert sum(f[3] is not None and "PIL" in str(f[3]) for f in warnings.filters) == 1
    assert [str(warning.message) for warning in caught] == ["mine"]


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_is_read_with_a_note(progressive: bool) -> None:
    whole = encoded("JPEG", Image.effect_noise((200, 120), 50), progressive=progressive)
    assert whole.endswith(b"\xff\xd9")
    loaded = load_image(whole[:-2])
    assert loaded.notes == ("the marker at its end is missing; every pixel was there",)
    for image in (loaded.image, open_image(whole[:-2] + bytes(200))):
        assert image.tobytes() == open_image(whole).tobytes()
    assert load_image(whole).notes == load_image(whole + b"more").notes == ()
    for missing in (40, 400, 2000):  # pixels are missing
        with pytest.raises(InputError, match=r"\[image.truncated\]"):
            load_image(whole[:-missing])


def test_a_zero_at_the_end_of_a_jpeg_can_be_a_pixel() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (8, 8 + n, 3), np.uint8) for n in range(200)]
    files = [encoded("JPEG", Image.fromarray(each)) for each in noise]
    ending_in_zero = [whole for whole in files if whole[-3] == 0]
    assert ending_in_zero
    for whole in ending_in_zero:
        for cut in (whole[:-2], whole[:-2] + bytes(200)):
            assert open_image(cut).tobytes() == open_image(whole).tobytes()


def test_notes_are_logged_and_never_printed(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "cut.jpg").write_bytes(encoded("JPEG")[:-2])
    load_image(tmp_path / "cut.jpg")
    (record,) = caplog.records
    assert record.name == "edgecap.runtime.image_files"
    assert record.getMessage().endswith("cut.jpg: the marker at its end is missing; every pixel "
                                        "was there")  # fmt: skip
    code = f"from edgecap.runtime.image_files import *; load_image({str(tmp_path / 'cut.jpg')!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_that_shows_something(format: str) -> None:
    empty, black = Image.new("RGBA", (9, 7)), Image.new("RGBA", (9, 7), "black")
    scene = black.copy()
    scene.paste("red", (0, 0, 4, 7))
    options = {"lossless": True} if format == "WEBP" else {}
    frames = [black, scene, black]
    data = encoded(format, empty, save_all=True, append_images=frames, duration=50, **options)
    loaded = load_image(data)
    assert loaded.image.convert("RGB").getpixel((1, 1)) == (255, 0, 0)
    # Pillow before 11 stores the two empty frames of a GIF as one.
    assert loaded.notes[0] in ("frame 3 of its 4 is used", "frame 2 of its 3 is used")
    still = load_image(encoded(format, scene, save_all=True, append_images=[black], **options))
    assert still.notes == ("frame 1 of its 2 is used",)


def test_pages_of_a_document() -> None:
    pages = [Image.fromarray(PIXELS), Image.new("RGB", (3, 3))]
    loaded = load_image(encoded("TIFF", pages[0], save_all=True, append_images=pages[1:]))
    assert loaded.image.size == (7, 9)
    assert loaded.notes == ("the first of its 2 pages is used",)


def test_open_files_and_files_in_memory(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(encoded("PNG"))
    sources: list[Any] = [io.BytesIO(encoded("PNG")), bytearray(encoded("PNG"))]
    with (tmp_path / "image").open("rb") as file, zipfile.ZipFile(io.BytesIO(), "w") as archive:
        archive.writestr("a.png", encoded("PNG"))
        for source in (*sources, file, archive.open("a.png")):
            assert is_image(source)
            np.testing.assert_array_equal(np.asarray(open_image(source)), PIXELS)
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "image")), PIXELS)  # no suffix


def test_open_files_that_give_no_image(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(encoded("PNG"))
    (tmp_path / "text").write_text("words")
    closed = (tmp_path / "image").open("rb")
    closed.close()
    with (tmp_path / "text").open() as text, (tmp_path / "text").open("rb") as binary:
        for source, code in (
            (text, "image.type"),
            (io.StringIO("words"), "image.type"),
            (closed, "image.missing"),
            (binary, "image.unreadable"),
            (io.BytesIO(), "image.empty"),
        ):
            with pytest.raises(InputError) as caught:
                open_image(source)
            assert caught.value.code == code


def test_a_file_that_was_written_and_not_rewound(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    with pytest.raises(InputError, match=r"BytesIO is at its end\. Call its seek\(0\) first"):
        load_image(file)
    file.seek(0)
    assert np.array_equal(load_image(file).image, PIXELS)


def test_an_array_that_fails_is_told_in_one_line() -> None:
    class Failing:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            raise RuntimeError("no\nmemory")

    with pytest.raises(InputError, match="a Failing cannot be made an array") as caught:
        load_image(Failing())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tags", [{254: 1}, {50706: b"\1\4\0\0"}])
def test_a_camera_raw_file_gives_its_preview_and_says_so(tags: dict[int, Any]) -> None:
    file, directory = io.BytesIO(), TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory.tagtype[tag] = 1 if isinstance(value, bytes) else 4
        directory[tag] = value
    GRADIENT.save(file, "TIFF", tiffinfo=directory)
    loaded = load_image(file.getvalue())
    width, height = GRADIENT.size
    note = f"a camera raw file; the preview of {width} x {height} that it holds is used"
    assert loaded.notes == (note,)
    assert loaded.image.size == GRADIENT.size


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_photographs_of_phones(format: str) -> None:
    data = high_efficiency(format)
    image = open_image(data)
    assert image.size == (48, 64)  # turned upright
    found = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(found - np.asarray(GRADIENT).astype(int)).mean() < 6


def high_efficiency(format: str) -> bytes:
    """GRADIENT as a phone held upright writes it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    turned = GRADIENT.transpose(Image.Transpose.ROTATE_90)
    if format == "HEIF":
        pillow_heif.from_pillow(turned).save(file, quality=90, exif=exif.tobytes())
    else:
        turned.save(file, "AVIF", quality=90, exif=exif)
    return file.getvalue()


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "photo.heic").write_bytes(high_efficiency("HEIF"))
    (tmp_path / "photo.avif").write_bytes(high_efficiency("AVIF"))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGES], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.splitlines() == [
        "[image.package] photo.heic is a HEIC image; to read it pillow-heif must be installed. "
        "Run: pip install 'edgecap[heic]'",
        "[image.package] photo.avif is an AVIF image; to read it Pillow 11.3 or newer must be "
        "installed. Run: pip install 'pillow>=11.3'",
        "False",
    ], done.stderr


WITHOUT_PACKAGES = """
import sys
for name in ("pillow_heif", "PIL.AvifImagePlugin"):
    sys.modules[name] = None
from edgecap.core.errors import InputError
from edgecap.runtime.image_files import open_image
from edgecap.runtime.image_plugins import formats_read
for name in ("photo.heic", "photo.avif"):
    try:
        open_image(name)
    except InputError as error:
        print(error)
print("AVIF" in formats_read())
"""


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"%PDF-1.7 ...", "is a PDF document, not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG or XML file, not an image"),
        (b"<!DOCTYPE html><html>", "is a web page, not an image"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "is a video, not an image"),
        (b"\x1aE\xdf\xa3\1\0\0\0", "is a video, not an image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git-LFS pointer, not an image"),
        (b"PK\3\4...", "is a zip archive, not an image"),
        (b"\xff\x0a...", "is a JPEG XL image, which is not read"),
        (b"II*\0\x10\0\0\0CR\2\0...", "is a camera raw file, which is not read"),
        (b"FUJIFILMCCD-RAW 0201...", "is a camera raw file, which is not read"),
        (b"words", "is not an image in a format that is read"),
        (bytes(999), "holds zeros only: its copy or download did not finish"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, told: str) -> None:
    with pytest.raises(InputError) as caught:
        open_image(data)
    assert caught.value.code == "image.unreadable"
    assert caught.value.message == f"what was given, {len(data)} bytes, {told}."


def test_the_formats_that_are_read() -> None:
    assert {"PNG", "JPEG", "WEBP", "AVIF", "TIFF"} <= set(formats_read())
