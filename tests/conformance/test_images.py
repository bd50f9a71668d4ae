"""Pillow and edgecap's preprocessing against the vectors."""

from typing import Any

import numpy as np
import pytest
from PIL import Image
from vectors import assert_bytes, kept, noise, topic

from edgecap.bundle.image_spec import letterboxed
from edgecap.runtime.preprocess import preprocess, to_rgb

MODES = {
    "grey": "L",
    "grey_alpha": "LA",
    "rgb": "RGB",
    "bgr": "RGB",
    "rgba": "RGBA",
    "bgra": "RGBA",
}


@pytest.mark.parametrize("case", topic("resize")["cases"], ids=str)
def test_resizing_by_every_filter_is_pillow_to_the_bit(case: dict[str, Any]) -> None:
    (w, h), (to_w, to_h) = case["from"], case["to"]
    kind = Image.Resampling[case["filter"].upper()]
    across = Image.fromarray(noise(w, h, 3, case["seed"])).resize((to_w, h), kind)
    assert_bytes("resize", case, np.asarray(across.resize((to_w, to_h), kind)))


@pytest.mark.parametrize("case", topic("letterbox")["cases"], ids=lambda case: str(case["from"]))
def test_letterbox(case: dict[str, Any]) -> None:
    w, h = case["from"]
    spec = letterboxed(case["size"], case["fill"])
    image, where = preprocess(noise(w, h, 3, case["seed"]), spec)
    assert_bytes("letterbox", case, image)
    assert [where.left, where.top] == [case["left"], case["top"]]
    assert [where.scaled_width, where.scaled_height] == case["scaled"]
    for box, expected in case["boxes"]:
        assert list(where.to_image(tuple(box))) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("case", topic("pixels")["orientations"], ids=str)
def test_orientation(case: dict[str, Any]) -> None:
    image = Image.fromarray(noise(*case["from"], 3, case["seed"]))
    image.getexif()[0x0112] = case["orientation"]
    out = to_rgb(image)
    assert [out.width, out.height] == case["to"]
    assert_bytes("pixels", case, np.asarray(out))


@pytest.mark.parametrize("case", topic("pixels")["formats"], ids=str)
def test_pixel_formats_and_transparency(case: dict[str, Any]) -> None:
    w, h = case["size"]
    values = kept("pixels", case["source"], (h, w, case["channels"]))
    if case["format"].startswith("bgr"):
        values = values[..., [2, 1, 0, 3][: case["channels"]]]
    image = Image.frombytes(MODES[case["format"]], (w, h), values.tobytes())
    assert_bytes("pixels", case, np.asarray(to_rgb(image, case["fill"])))
