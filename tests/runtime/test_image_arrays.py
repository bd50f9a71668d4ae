"""Arrays and tensors of any layout, read as they are said to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from edgecap.core.errors import InputError
from edgecap.runtime.image_arrays import Pixels
from edgecap.runtime.image_files import is_image, open_image

RGB = np.random.default_rng(3).integers(0, 256, (9, 7, 3), np.uint8)
RGBA = np.random.default_rng(4).integers(0, 256, (9, 7, 4), np.uint8)


@pytest.mark.parametrize(
    "source",
    [
        Pixels(RGB[..., ::-1], channels="bgr"),
        Pixels(RGB.transpose(2, 0, 1), layout="chw"),
        Pixels(RGB[..., ::-1].transpose(2, 0, 1), channels="bgr", layout="chw"),
        Pixels(RGB.astype(np.float32), white=255),
        Pixels(RGB.astype(np.float16) / 255, white=1),
        Pixels(RGB.astype(np.int64), white=255),
        Pixels(RGB.astype(np.uint16) * 16, white=4080),
        torch.from_numpy(RGB),
        torch.from_numpy(RGB.astype(np.float32) / 255).requires_grad_(),
        Pixels(torch.from_numpy(RGB).permute(2, 0, 1), layout="chw"),
        Pixels(torch.from_numpy(RGB).to(torch.bfloat16), white=255),
        np.asfortranarray(RGB),
        np.repeat(RGB, 2, 1)[:, ::2],
        RGB.astype(">u2") * 257,
        RGB.astype("<u2") * 257,
    ],
    ids=lambda source: type(getattr(source, "array", source)).__name__,
)
def test_the_same_image_in_every_form(source: Any) -> None:
    assert is_image(source)
    image = open_image(source)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), RGB)


def test_alpha_stays_last() -> None:
    bgra = RGBA[..., [2, 1, 0, 3]]
    np.testing.assert_array_equal(np.asarray(open_image(Pixels(bgra, channels="bgr"))), RGBA)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        (RGB.transpose(2, 0, 1), "layout='chw'"),
        (torch.from_numpy(RGB).permute(2, 0, 1), "layout='chw'"),
        (RGB.astype(np.float32), "white=255"),
        (RGB.astype(np.int32), "white=255"),
        (np.stack([RGB, RGB]), "batch"),
        (torch.zeros(2, 3, 9, 7), "batch"),
    ],
)
def test_a_refusal_says_what_to_say(source: Any, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        open_image(source)
    assert caught.value.code == "image.array"
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: Pixels(RGB, channels="gbr"), "channels.unknown"),
        (lambda: Pixels(RGB, layout="nchw"), "layout.unknown"),
        (lambda: Pixels(RGB, white=0), "image.array"),
        (lambda: Pixels(RGB, white=float("nan")), "image.array"),
        (lambda: open_image(Pixels(RGB.astype(float), white=100)), "image.array"),
        (lambda: open_image(Pixels(np.full((3, 3), np.inf), white=255)), "image.array"),
        (lambda: open_image(Pixels("a text")), "image.array"),
        (lambda: open_image(torch.zeros(3, 3, dtype=torch.complex64)), "image.array"),
    ],
)
def test_what_cannot_be_meant_is_refused(make: Any, code: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.code == code


def test_several_images_are_not_one() -> None:
    for several in ([RGB], (RGB,), np.stack([RGB]), torch.zeros(1, 3, 4, 4), iter([RGB]), 3):
        assert not is_image(several)
