"""Images of more pixels than are decoded whole, at a half, a quarter or an eighth of their size.

JPEG and JPEG 2000 decode at reduced size by themselves. PNG (8 bits a channel, not interlaced) and
formats that are not compressed (TIFF, BMP, PPM) are decoded in strips of rows, each averaged down
before the next is decoded, so that memory holds what comes out and one strip.

Letters: w, h width and height in px; k how many times smaller each side becomes.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image

from edgecap.runtime.image_arrays import MAX_PIXELS

MOST_PIXELS = 1 << 29  # of what is decoded at reduced size: 536 megapixels
_KEPT = 16 << 20  # pixels that are left at least: of every model's input there is enough
STRIP = 8 << 20  # bytes decoded at a time
_DEFLATE = 1040  # no byte of a deflated stream gives more
_PNG_CHANNELS = {0: ("L", 1), 2: ("RGB", 3), 3: ("P", 1), 4: ("LA", 2), 6: ("RGBA", 4)}


def shrink_factor(width: int, height: int) -> int:
    """k, of 2, 4 and 8 the largest that leaves enough pixels."""
    return next((k for k in (8, 4) if width * height >= _KEPT * k * k), 2)


def read_reduced(image: Image.Image, data: bytes, k: int, strip: int = STRIP) -> Image.Image | None:
    """The image in file `data`, 1/k as wide and high (rounded up); None where that cannot be done.

    Args:
        image: as a plugin opened it, not loaded yet. Its orientation and profile are kept.
        strip: bytes that are decoded at a time, about.

    Raises what decoders raise, OSError where data ends too early.
    """
    if image.format in ("JPEG", "MPO"):
        # A progressive file is held whole as coefficients, 3 to 6 bytes a pixel.
        if image.info.get("progressive") and image.width * image.height > 2 * MAX_PIXELS:
            return None
        image.draft(None, (image.width // k, image.height // k))
        image.load()
        return image
    if image.format == "JPEG2000":
        image.reduce = k.bit_length() - 1  # type: ignore[method-assign, assignment]
        image.load()
        return image
    read = _png_strips if image.format == "PNG" else _raw_strips
    strips = read(image, data, k, strip)
    return None if strips is None else _joined(image, strips, k)


def _joined(image: Image.Image, strips: Iterator[Image.Image], k: int) -> Image.Image:
    """Strips from top to bottom, each of a multiple of k rows but the last, averaged down."""
    out: Image.Image | None = None
    top = 0
    for strip in strips:
        small = _plain(strip, image).reduce(k)
        if out is None:
            out = Image.new(small.mode, (small.width, -(-image.height // k)))
        out.paste(small, (0, top))
        top += small.height
    if out is None or top < out.height:
        raise OSError("image file is truncated")
    kept = ("icc_profile", "exif", "xmp")
    out.info = {name: image.info[name] for name in kept if name in image.info}
    return out


def _plain(strip: Image.Image, image: Image.Image) -> Image.Image:
    """A strip in a mode whose values can be averaged."""
    if strip.mode == "P" and image.palette is not None:
        strip.putpalette(image.palette)
    transparency = image.info.get("transparency")
    if transparency is not None:
        strip.info["transparency"] = transparency
        return strip.convert("RGBA")
    return strip.convert("RGB") if strip.mode in ("P", "1") else strip


def _raw_strips(
    image: Image.Image, data: bytes, k: int, strip: int
) -> Iterator[Image.Image] | None:
    """Strips of a file whose pixels lie there uncompressed, row by row from the top."""
    size, mode = image.size, image.mode
    tiles: list[tuple[str, tuple[int, int, int, int], int, Any]]
    tiles = sorted(getattr(image, "tile", []), key=lambda tile: tile[1][1])
    bits = len(image.getbands()) * 8
    rows: list[tuple[int, int, int]] = []  # (where in the file, rows, bytes of a row)
    raw = ""
    for codec, (left, upper, right, lower), offset, args in tiles:
        if codec != "raw" or (left, right) != (0, size[0]):
            return None
        raw, stride, orientation = args if isinstance(args, tuple) else (args, 0, 1)
        if orientation != 1:
            return None
        if mode not in ("L", "LA", "RGB", "RGBA", "P") or raw.replace("BGR", "RGB") != mode:
            return None
        rows.append((offset, lower - upper, stride or size[0] * bits // 8))
    if not rows or any(count % k for _, count, _ in rows[:-1]):
        return None
    return _cut_rows(data, rows, size[0], mode, raw, max(1, strip // (rows[0][2] * k)) * k)


def _cut_rows(
    data: bytes, rows: list[tuple[int, int, int]], width: int, mode: str, raw: str, most: int
) -> Iterator[Image.Image]:
    for offset, count, stride in rows:
        for first in range(0, count, most):
            n = min(most, count - first)
            start = offset + first * stride
            values = data[start : start + n * stride]
            yield Image.frombytes(mode, (width, n), values, "raw", raw, stride, 1)


def _png_strips(
    image: Image.Image, data: bytes, k: int, strip: int
) -> Iterator[Image.Image] | None:
    width, height, depth, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    if (width, height) != image.size or depth != 8 or interlaced or color not in _PNG_CHANNELS:
        return None
    mode, channels = _PNG_CHANNELS[color]
    parts = list(_png_data(data))
    if sum(map(len, parts)) * _DEFLATE < (1 + width * channels) * height:
        return None  # it claims more than it can hold: not worth the work
    most = max(1, strip // ((1 + width * channels) * k)) * k
    return _unfiltered(parts, width, height, mode, channels, most)


def _png_data(data: bytes) -> Iterator[memoryview]:
    """The contents of the IDAT chunks."""
    at, view = 8, memoryview(data)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IDAT":
            yield view[at + 8 : at + 8 + length]
        at += 12 + length


def _unfiltered(
    parts: list[memoryview], width: int, height: int, mode: str, channels: int, most: int
) -> Iterator[Image.Image]:
    """Strips of rows [n,width,channels] of a deflated stream of filtered rows.

    A row may be the difference to the one above. So each strip is given to Pillow as a small PNG
    of its own, led by the last row of the strip before, which is cut off again.
    """
    row = 1 + width * channels  # bytes: the filter's number, then the values
    above = bytes(row - 1)
    blocks = _inflated(parts, most * row)
    for top in range(0, height, most):
        n = min(most, height - top)
        rows = next(blocks, b"")[: n * row]
        if len(rows) < n * row:
            raise OSError("image file is truncated")
        strip = _small_png(b"\0" + above + rows, width, n + 1, channels)
        strip = strip.crop((0, 1, width, n + 1))
        above = strip.crop((0, n - 1, width, n)).tobytes()
        yield Image.frombytes("P", strip.size, strip.tobytes()) if mode == "P" else strip


def _inflated(parts: list[memoryview], size: int) -> Iterator[bytes]:
    """The stream in pieces of `size` bytes; the last may be shorter."""
    unpack = zlib.decompressobj()
    ready = bytearray()
    for part in parts:
        waiting: bytes | memoryview = part
        while waiting:
            ready += unpack.decompress(waiting, size)
            waiting = unpack.unconsumed_tail
            while len(ready) >= size:
                yield bytes(ready[:size])
                del ready[:size]
    yield bytes(ready)


def _small_png(rows: bytes, width: int, height: int, channels: int) -> Image.Image:
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    from PIL.PngImagePlugin import PngImageFile  # only for very large images

    strip = PngImageFile(io.BytesIO(data))
    strip.load()
    return strip
