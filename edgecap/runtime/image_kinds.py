"""What a file is, by its first bytes or its name: to find images, and to name what is none."""

from __future__ import annotations

import os
from pathlib import Path

# Endings by which images are found in a directory: opening every file would take hours.
_ENDINGS = """
    .png .jpg .jpeg .jfif .mpo .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .pnm .tga .ico .jp2 .j2k
    .avif
"""
SUFFIXES = frozenset(_ENDINGS.split())
HEIC_SUFFIXES = frozenset((".heic", ".heif", ".hif"))
_VIDEOS = ".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .3gp .wmv"
VIDEO_SUFFIXES = frozenset(_VIDEOS.split())
HEAD = 64  # bytes that are enough for `kind_of`
JPEG_XL, RAW = "JPEG XL image", "camera raw file"

# What an image's files begin with.
_IMAGES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
}
IMAGE_KINDS = frozenset((*_IMAGES.values(), "WebP", "HEIC", "AVIF"))
_OTHERS = {
    b"%PDF": "PDF document",
    b"%!PS": "PostScript file",
    b"version https://git-lfs": "Git-LFS pointer",
    b"PK\x03\x04": "zip archive",
    b"\x1f\x8b": "gzip archive",
    b"\xff\x0a": JPEG_XL,
    b"\0\0\0\x0cJXL ": JPEG_XL,
    b"\x1aE\xdf\xa3": "video",
    b"\0\0\x01\xba": "video",
    b"8BPS": "Photoshop file",
    b"II*\0\x10\0\0\0CR": RAW,  # of Canon; those of Nikon, Sony and Adobe begin as any TIFF file
    b"FUJIFILMCCD-RAW": RAW,
    b"IIRO": RAW,
    b"IIRS": RAW,
    b"MMOR": RAW,
    b"IIU\0": RAW,
}
UNREAD = (JPEG_XL, RAW)  # pictures that Pillow does not read
# What to do with what is not read.
ADVICE = {
    JPEG_XL: "Convert it first, for example to JPEG or PNG.",
    RAW: "Develop it first: save it as JPEG or TIFF.",
    "PDF document": "Save its pages as images first.",
    "Git-LFS pointer": "Run: git lfs pull",
    "zip archive": "Unpack it first.",
    "gzip archive": "Unpack it first.",
}
_BRANDS = {  # of ISO media files, after "ftyp"; any other brand is a video's
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1", b"mif2", b"heif"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": RAW,
}


def kind_of(head: bytes) -> str:
    """What begins with these bytes, one of IMAGE_KINDS or a few words; "" where not known."""
    if head[4:8] == b"ftyp":
        brand = _BRANDS.get(head[8:12], "video")
        # A generic brand comes first in some AVIF files; compatible brands name the kind.
        return "AVIF" if brand == "HEIC" and b"avif" in head[16:HEAD] else brand
    if head[:4] == b"RIFF":
        return {b"WEBP": "WebP", b"AVI ": "video"}.get(head[8:12], "")
    for start, kind in (_OTHERS | _IMAGES).items():  # Canon's raw files begin as TIFF files do
        if head.startswith(start):
            return kind
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")):
        return "SVG or XML file"
    return "web page" if text.startswith((b"<!doctype html", b"<html")) else ""


def kind_of_file(path: str | os.PathLike[str]) -> str:
    """`kind_of` a regular file's beginning; "" also where it cannot be read."""
    try:
        if not os.path.isfile(path):  # a pipe would be waited for
            return ""
        with Path(path).open("rb") as file:
            return kind_of(file.read(HEAD))
    except (OSError, ValueError):
        return ""
