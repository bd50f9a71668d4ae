"""Arguments that cannot be used: an error by name, nothing written beyond a buffer, no crash."""

import ctypes
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_edgecap import Caption, Captioner, Error, Image, Library, Refused, engine_library

from edgecap.bundle.packing import pack

PIXELS = np.full((20, 30, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def captioner(library: Library, bundles: dict[str, Path]) -> Iterator[Captioner]:
    opened = library.open(bundles["onnx"], library=engine_library("onnx"))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"language": "xx"}, "language.unknown"),
        ({"language": ""}, "language.unknown"),
        ({"language": "e" * 10_000}, "language.unknown"),
        ({"style": "haiku"}, "style.unknown"),
        ({"most_tokens": -1}, "caption.length"),
        ({"most_tokens": 95}, "caption.length"),
        ({"most_tokens": 2**31 - 1}, "caption.length"),
        ({"beams": -1}, "caption.beams"),
        ({"prompt": "caption"}, "prompt.unknown"),
        ({"beams": 33}, "caption.beams"),
        ({"beams": 2, "sample": 1}, "caption.beams_sampled"),
        ({"sample": 1, "temperature": 0.0}, "sampling.temperature"),
        ({"sample": 1, "temperature": float("nan")}, "sampling.temperature"),
        ({"sample": 1, "top_k": -1}, "sampling.top_k"),
        ({"sample": 1, "top_p": 1.5}, "sampling.top_p"),
        ({"sample": 1, "top_p": float("nan")}, "sampling.top_p"),
    ],
)
def test_requests(captioner: Captioner, changes: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refused:
        captioner.describe(PIXELS, **changes)
    assert refused.value.code == code
    assert captioner.describe(PIXELS, most_tokens=1)  # it works on


def test_beams_do_not_stream(captioner: Captioner) -> None:
    with pytest.raises(Refused) as refused:
        captioner.describe(PIXELS, beams=2, on_piece=lambda _: 0)
    assert (refused.value.status, refused.value.code) == (3, "caption.beams_streamed")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"data": None}, "image.missing"),
        ({"width": 0}, "image.empty"),
        ({"height": 0}, "image.empty"),
        ({"width": -5}, "image.empty"),
        ({"height": -(2**31)}, "image.empty"),
        ({"width": 2**31 - 1, "height": 2**31 - 1}, "image.too_large"),
        ({"width": 89_478_486, "height": 1}, "image.too_large"),
        ({"stride": 3}, "image.stride"),
        ({"stride": -3}, "image.stride"),
        ({"stride": 0}, "image.stride"),
        ({"format": -1}, "image.format"),
        ({"format": 6}, "image.format"),
        ({"orientation": 0}, "image.orientation"),
        ({"orientation": 9}, "image.orientation"),
    ],
    ids=str,
)
def test_images(library: Library, captioner: Captioner, changes: dict[str, Any], code: str) -> None:
    image = captioner.image(PIXELS)
    for name, value in changes.items():
        setattr(image, name, value)
    error, caption = Error(), Caption()
    call = library.c.edgecap_describe
    assert call(captioner.handle, image, None, caption, error) == 1
    assert error.code.decode() == code
    assert call(captioner.handle, image, None, caption, None) == 1  # no error is wanted


def test_null_pointers(library: Library, captioner: Captioner) -> None:
    c, error = library.c, Error()
    image, caption = captioner.image(PIXELS), Caption()
    c.edgecap_close(None)
    assert c.edgecap_get_info(None).name is None
    assert not c.edgecap_open(None, None, error) and error.code == b"bundle.missing"
    assert not c.edgecap_open(None, None, None)
    for arguments in ((None, image, None, caption), (captioner.handle, None, None, caption)):
        assert c.edgecap_describe(*arguments, error) == 1
        assert error.code == b"argument.missing"
    assert c.edgecap_describe(captioner.handle, image, None, None, error) == 1
    assert c.edgecap_embed_text(captioner.handle, None, 8, 4, error) == 1
    assert c.edgecap_embed_text(captioner.handle, b"a", None, 4, error) == 1
    assert c.edgecap_embed_image(None, image, None, 4, error) == 1
    assert c.edgecap_describe(captioner.handle, image, None, caption, error) == 0
    assert error.code == b""
    assert caption.text_length > 0 and caption.token_count > 0  # told, though not wanted


def test_buffers_that_are_too_small(library: Library, captioner: Captioner) -> None:
    caption, keep = captioner.buffers()
    error, image = Error(), captioner.image(PIXELS)
    params = library.c.edgecap_caption_default_params()
    params.sample, params.temperature = 1, 20.0
    for params.seed in range(100):
        library.c.edgecap_describe(captioner.handle, image, params, caption, error)
        if caption.box_count:
            break
    assert caption.box_count and caption.phrase_count
    counts = [name for name, _ in Caption._fields_ if name.endswith(("_length", "_count"))]
    whole = {name: getattr(caption, name) for name in counts}
    words = keep["text"].raw[: caption.text_length]  # which may hold a null byte
    for name, needed in (
        ("text", whole["text_length"] + 1),
        ("raw", whole["raw_length"] + 1),
        ("phrase", whole["phrase_count"]),
        ("box", whole["box_count"]),
        ("token", whole["token_count"]),
        ("attention", whole["token_count"] * captioner.info.patches),
    ):
        for capacity, status in ((needed, 0), (needed - 1, 6), (1 if needed > 1 else 0, 6), (0, 6)):
            small, room = captioner.buffers()
            for buffer in room.values():
                ctypes.memset(_address(buffer), 0xAA, _size(buffer))
            setattr(small, f"{name}_capacity", capacity)
            got = library.c.edgecap_describe(captioner.handle, image, params, small, error)
            assert (got, error.code) == (status, b"caption.buffer" if status else b"")
            assert {n: getattr(small, n) for n in counts} == whole
            field = {"phrase": "phrases", "box": "boxes", "token": "tokens"}.get(name, name)
            beyond = bytes(_bytes(room[field]))[capacity * _width(room[field]) :]
            assert set(beyond) <= {0xAA}
            if name == "text":
                cut = bytes(_bytes(room["text"]))[:capacity]
                assert cut == (words + b"\0")[: max(capacity - 1, 0)] + b"\0" * (capacity > 0)


def _bytes(buffer: Any) -> memoryview:
    return memoryview(buffer).cast("B")


def _size(buffer: Any) -> int:
    return buffer.nbytes if isinstance(buffer, np.ndarray) else ctypes.sizeof(buffer)


def _address(buffer: Any) -> int:
    return buffer.ctypes.data if isinstance(buffer, np.ndarray) else ctypes.addressof(buffer)


def _width(buffer: Any) -> int:
    if isinstance(buffer, np.ndarray):
        return buffer.itemsize
    return ctypes.sizeof(buffer._type_)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "text.empty"),
        (" \u3000\n".encode(), "text.empty"),
        (b"a\xff", "text.utf8"),
        (b"\xed\xa0\x80", "text.utf8"),
        (b"\xc0\x80", "text.utf8"),
        (b"\xf4\x90\x80\x80", "text.utf8"),
        (b"cut \xe4\xb8", "text.utf8"),
        (b"dog " * 200, "text.too_long"),
        (b"a" * 5_000_000, "text.too_long"),
        ("\u0301".encode() * 15_000, "text.too_long"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_texts(captioner: Captioner, text: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        captioner.embed_text(text)
    assert refused.value.code == code


def test_an_embedding_needs_its_room(library: Library, captioner: Captioner) -> None:
    error = Error()
    out = np.full(captioner.info.embedding, 7, np.float32)
    room = out.size - 1
    call = library.c.edgecap_embed_image
    assert call(captioner.handle, Image(), out.ctypes.data, room, error) == 6
    assert error.code == b"embedding.buffer"
    assert library.c.edgecap_embed_text(captioner.handle, b"a", out.ctypes.data, room, error) == 6
    assert set(out.tolist()) == {7.0}


@pytest.mark.parametrize("packed", [False, True], ids=["directory", "packed"])
@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_memory_that_runs_out_at_every_allocation(
    format_: str, packed: bool, faults: Path, bundles: dict[str, Path], tmp_path: Path
) -> None:
    bundle = bundles[format_]
    if packed:
        bundle = pack(bundle, tmp_path / "one.edgecap")
    run = subprocess.run([faults, bundle, engine_library(format_)], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(run.stdout.split()[0]) > 150
