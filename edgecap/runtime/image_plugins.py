"""Which of Pillow's plugins read images here, and opening a file with the one that knows it."""

from __future__ import annotations

import functools
import importlib
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from PIL import Image

from edgecap.core.errors import InputError, one_line
from edgecap.runtime.image_kinds import ADVICE, HEAD, IMAGE_KINDS, UNREAD, kind_of

# Fewer than Pillow has: some of its plugins run other programs (EPS) or are seldom exercised. In
# this order, TGA last because it is known by nothing that it begins with.
_PLUGINS = {
    "PNG": "Png",
    "JPEG": "Jpeg",
    "MPO": "Mpo",
    "WEBP": "WebP",
    "GIF": "Gif",
    "BMP": "Bmp",
    "TIFF": "Tiff",
    "PPM": "Ppm",
    "ICO": "Ico",
    "JPEG2000": "Jpeg2K",
    "AVIF": "Avif",  # since Pillow 11.3
    "TGA": "Tga",
}
_PILLOW = r"PIL\."  # modules that may warn of oddities


class _Opener(NamedTuple):
    """One plugin of Pillow."""

    format: str
    open: Callable[..., Image.Image]
    accept: Any  # what knows the format by 16 bytes, or None


def formats_read() -> tuple[str, ...]:
    """Names of the formats that this installation reads."""
    return tuple(
        name for name, _, accept in _openers() if not isinstance(_missing_library(accept), str)
    )


def parse(data: bytes, name: str) -> Image.Image:
    """The image as its plugin opens it: the header is read, no pixel.

    Not Image.open, whose judgement of what is too large is a setting of the whole process.
    """
    kind = kind_of(data[:HEAD])
    if kind == "HEIC":
        return _parse_heic(data, name)
    reason = ""
    for _, factory, accept in _openers():
        try:
            if accept is None or accept(data[:16]) is True:
                return factory(io.BytesIO(data), "")
        except MemoryError:
            raise
        except Exception as error:  # as in _open
            reason = reason or ("" if accept is None else one_line(error))
    if kind == "AVIF" and "AVIF" not in formats_read():
        raise _package(name, "an AVIF image", "Pillow 11.3 or newer", "pillow>=11.3")
    if kind in IMAGE_KINDS:
        article = "an" if kind == "AVIF" else "a"
        what = f"{name} is {article} {kind} file that is damaged or of a kind that is not read"
        raise damaged(what, reason)
    if not data.strip(b"\0"):
        raise damaged(f"{name} holds zeros only: its copy or download did not finish", "")
    advice = ADVICE.get(kind, f"Formats read: {', '.join(formats_read())}.")
    raise InputError("image.unreadable", f"{name} is {_described(kind)}.", advice)


def damaged(what: str, reason: str) -> InputError:
    """The refusal of an image file whose pixels cannot be read."""
    code = "image.truncated" if "truncated" in reason.lower() else "image.unreadable"
    return InputError(
        code, f"{what}{': ' if reason else ''}{reason.rstrip('.')}.", "Copy or save it again."
    )


def _described(kind: str) -> str:
    if not kind:
        return "not an image in a format that is read"
    article = "an" if kind.startswith("SVG") else "a"
    return f"{article} {kind}, {'which is not read' if kind in UNREAD else 'not an image'}"


def _parse_heic(data: bytes, name: str) -> Image.Image:
    try:
        heif = importlib.import_module("pillow_heif")
    except ImportError:
        raise _package(name, "a HEIC image", "pillow-heif", "edgecap[heic]") from None
    return heif.HeifImageFile(io.BytesIO(data))


def _package(name: str, what: str, needs: str, install: str) -> InputError:
    return InputError(
        "image.package",
        f"{name} is {what}; to read it {needs} must be installed.",
        f"Run: pip install '{install}'",
    )


def _openers() -> Iterator[_Opener]:
    """What this Pillow has, each imported when its turn comes: most images are of the first few."""
    return filter(None, map(_opener, _PLUGINS))


@functools.cache
def _opener(format: str) -> _Opener | None:
    """What opens a format; None if this Pillow does not."""
    try:
        importlib.import_module(f"PIL.{_PLUGINS[format]}ImagePlugin")
    except ImportError:
        return None
    return _Opener(format, *Image.OPEN[format]) if format in Image.OPEN else None


def _missing_library(accept: Any) -> Any:
    """The plugin's message where its library is missing, else 0."""
    heads = (b"RIFF\0\0\0\0WEBPVP8 ", b"\0\0\0\x1cftypavif\0\0\0\0")
    return next((a for a in (accept and accept(head) for head in heads) if isinstance(a, str)), 0)


def suppress_plugin_warnings() -> None:
    """Suppress the warnings of Pillow's plugins about oddities in files.

    A filter for these modules alone, set once: to take it away again would change the filters of
    every other thread.
    """
    ignored = ("ignore", None, UserWarning)
    if not any(
        f[:3] == ignored and getattr(f[3], "pattern", "") == _PILLOW for f in warnings.filters
    ):
        warnings.filterwarnings("ignore", category=UserWarning, module=_PILLOW)
