"""Images of every kind whose preprocessed pixels are known: golden_images.json holds their hashes.

The hashes were made by the preprocessing of schema 1 before it and the processing by ImageSpec
became one. `python tests/support/golden_images.py` writes them again; a difference is a change of
what every bundle of schema 1 sees.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FILE = Path(__file__).with_suffix(".json")
SIZES = [(1, 1), (64, 48), (1, 37), (300, 2), (33, 250), (500, 47), (224, 224), (225, 223)]
MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB"]
MODES += ["HSV", "I", "F"]


def pixels(width: int, height: int, channels: int = 4) -> np.ndarray:
    """uint8 [height,width,channels]: gradients, edges and noise."""
    generator = np.random.default_rng(width * 1000 + height)
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 120 * np.sin(x * 0.21 * k + y * 0.13 + k) for k in (1, 2, 3, 0.5)]
    noise = generator.integers(-60, 60, (height, width, 4))
    return np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)[..., :channels]


def _in_mode(mode: str, width: int, height: int) -> Image.Image:
    rgba = pixels(width, height)
    if mode == "I":
        return Image.fromarray(rgba[..., 0].astype(np.int32) * 257)  # 0 ... 65535
    if mode == "F":  # 0 ... 255; the hashes are of 2026-11-30, since brighter floats are refused
        return Image.fromarray(rgba[..., 0].astype(np.float32))
    if mode in ("La", "PA"):
        return (
            Image.fromarray(rgba[..., :2].copy(), "LA").convert("La")
            if mode == "La"
            else (Image.fromarray(rgba).convert("LA").convert("PA"))
        )
    if mode == "RGBa":
        return Image.fromarray(rgba).convert("RGBa")
    return Image.fromarray(rgba).convert("RGB" if mode == "LAB" else mode)


def _file(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def sources() -> dict[str, Any]:
    """Name -> anything `preprocess` takes; none is decoded lossily, so that no codec matters."""
    found: dict[str, Any] = {
        f"{mode} {w}x{h}": _in_mode(mode, w, h) for mode in MODES for w, h in SIZES
    }
    rgba = pixels(90, 61)
    rgb = Image.fromarray(rgba[..., :3].copy())
    for format in ("PNG", "BMP", "TIFF", "PPM", "TGA"):
        found[f"file {format}"] = _file(rgb, format)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        found[f"orientation {orientation}"] = _file(rgb, "PNG", exif=exif)
    found["transparent palette"] = _file(rgb.quantize(40), "PNG", transparency=3)
    found["array float"] = rgba[..., :3].astype(np.float32) / 255
    found["array uint16"] = rgba[..., :3].astype(np.uint16) * 257
    found["array alpha"] = rgba
    found["array grey"] = rgba[..., 0].copy()
    found["array bool"] = rgba[..., 0] > 127
    found["file 16 bits"] = _file(Image.fromarray(rgba[..., 0].astype(np.uint16) * 257), "PNG")
    return found


def digest(model_input: np.ndarray) -> str:
    """Of uint8 [S,S,3]."""
    return hashlib.sha256(np.ascontiguousarray(model_input).tobytes()).hexdigest()[:16]


def hashes() -> dict[str, str]:
    from edgecap.runtime.preprocess import preprocess

    return {name: digest(preprocess(source)[0]) for name, source in sources().items()}


if __name__ == "__main__":
    FILE.write_text(json.dumps(hashes(), indent=1) + "\n")
