"""Colours of any image as 8-bit sRGB: embedded profiles, wide values, transparency.

Letters: h, w height and width in px.
"""

from __future__ import annotations

import io
from types import ModuleType

import numpy as np
from PIL import Image

from edgecap.core.errors import InputError

_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
# Floats below the first are 0 … 1, and else 0 … 255; a little above both.
_ONE, _MOST_FLOAT = 2, 300
_SPACES = {"RGB ": ("RGB", "RGBA", "RGBX"), "GRAY": ("L", "LA"), "CMYK": ("CMYK",)}


def to_srgb(image: Image.Image) -> Image.Image:
    """An image with an embedded ICC profile (Display P3, Adobe RGB, CMYK …) in sRGB.

    Alpha is kept. The image itself is returned where it has no profile, or that of sRGB, or one
    that does not fit it; and where this Pillow was built without LittleCMS.
    """
    profile = image.info.get("icc_profile")
    if not profile:  # first: the library that reads one takes memory, and few images need it
        return image
    cms = _cms()
    if cms is None:
        return image
    try:
        source = cms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in cms.getProfileDescription(source).lower():
            return image
        return _converted(image, source, cms)
    except MemoryError:
        raise
    except Exception:  # a damaged profile must not cost the image
        return image


def _converted(image: Image.Image, source: object, cms: ModuleType) -> Image.Image:
    info = image.info
    if image.mode in ("P", "PA") or (info.get("transparency") is not None and image.mode == "RGB"):
        image = image.convert("RGBA" if "transparency" in info or image.mode == "PA" else "RGB")
    if image.mode not in _SPACES.get(source.profile.xcolor_space, ()):  # type: ignore[attr-defined]
        return image
    alpha = image.getchannel("A") if image.mode in _ALPHA else None
    opaque = image if alpha is None else image.convert("RGB" if image.mode == "RGBA" else "L")
    rgb = cms.profileToProfile(opaque, source, cms.createProfile("sRGB"), outputMode="RGB")
    if alpha is not None:
        rgb.putalpha(alpha)
    rgb.info.pop("icc_profile", None)
    rgb.info.pop("transparency", None)
    return rgb


def _cms() -> ModuleType | None:
    try:
        from PIL import ImageCms, _imagingcms  # noqa: F401  # the second is what may be missing
    except ImportError:
        return None
    return ImageCms


def to_rgb(
    image: Image.Image, background: int | None, high_byte: bool, bits: int | None = None
) -> Image.Image:
    """Any mode to RGB.

    Args:
        background: grey, 0-255, behind transparent pixels; None drops alpha.
        high_byte: 16-bit values give their most significant byte; else those above 255 are white.
        bits: of a value that is stored in 16 bits, where the file states it. By default 12 where no
            value is larger than that, as cameras for machines write them; else 16.

    Raises InputError (image.unreadable) for integers of more than 16 bits.
    """
    if image.mode.startswith("I;16") or (high_byte and image.mode in ("I", "F")):
        values = np.asarray(image)  # [h,w]
        grey = _high_byte(values, bits) if high_byte else np.clip(values, 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")  # Pillow knows no shorter way
    if background is not None and (
        image.mode in _ALPHA or image.info.get("transparency") is not None
    ):
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (background,) * 3 + (255,))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")


def _too_bright(most: float, stored: str, limit: str) -> InputError:
    return InputError(
        "image.unreadable",
        f"the image holds values of up to {most:,.0f} in {stored}; up to {limit} are read.",
        "Say which is full brightness: Pixels(array, white=…).",
    )


def _high_byte(values: np.ndarray, bits: int | None) -> np.ndarray:
    """Integers of 16 bits, or floats, [h,w] to uint8 [h,w]; 8-bit values in a wide type stay.

    Floats are 0 … 1, where sharpening may have left some a little above, or 0 … 255. Raises
    InputError for larger values: which one is white is unknown.
    """
    if values.dtype.kind == "f":
        finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        if finite.max() > _MOST_FLOAT:
            raise _too_bright(float(finite.max()), "floats", "255")
        scaled = np.nan_to_num(values, nan=0.0) * (255 if finite.max() < _ONE else 1)
        return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    most = int(values.max())
    if most > 65535:
        raise _too_bright(most, "32 bits", "65,535")
    clipped = np.clip(values, 0, 65535)
    if values.dtype.itemsize != 2 and most <= 255:
        return clipped.astype(np.uint8)
    bits = bits or (12 if most < 4096 else 16)
    return np.clip(clipped.astype(np.uint16) >> (bits - 8), 0, 255).astype(np.uint8)
