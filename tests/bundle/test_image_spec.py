"""Image processing in a manifest: what is written is read, and nonsense is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from edgecap.bundle.image_spec import (
    Crops,
    ImageSpec,
    image_spec_from_json,
    image_spec_to_json,
)
from edgecap.core.errors import BundleError

GIT = ImageSpec((224, 224), "cover", "bicubic", background=255, crop=(224, 224))
SPLIT = ImageSpec((1456, 1456), "longest_edge", "lanczos", crops=Crops(364, True))


@pytest.mark.parametrize("spec", [GIT, SPLIT, ImageSpec((8, 9), "contain", "box", fill=127)])
def test_a_spec_survives_json(spec: ImageSpec) -> None:
    assert image_spec_from_json(json.loads(json.dumps(image_spec_to_json(spec)))) == spec


def test_input_size_is_that_of_one_crop() -> None:
    assert ImageSpec((60, 60), "cover", "bicubic", crop=(50, 40)).input_size == (50, 40)
    assert ImageSpec((60, 50), "stretch", "bicubic").input_size == (60, 50)
    assert SPLIT.input_size == (364, 364)


def test_fields_of_other_tools_are_left_to_them() -> None:
    assert image_spec_from_json(image_spec_to_json(GIT) | {"x_note": "ours"}) == GIT


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"mean": 0.5}, "bundle.unknown_field", "'mean'"),
        ({"fit": "squeeze"}, "bundle.image", "image.fit is 'squeeze'; allowed: contain"),
        ({"filter": "mitchell"}, "bundle.image", "image.filter"),
        ({"channels": "YUV"}, "bundle.image", "image.channels"),
        ({"wide": "guess"}, "bundle.image", "image.wide"),
        ({"size": [224]}, "bundle.image", "image.size"),
        ({"size": [0, 224]}, "bundle.image", "image.size"),
        ({"size": [1 << 20, 1 << 20]}, "bundle.image", "image.size"),
        ({"size": [224, 225]}, "bundle.image", "two equal sides"),
        ({"size": 224}, "bundle.field_type", "image.size"),
        ({"size": [224.5, 224]}, "bundle.field_type", "image.size"),
        ({"crop": None}, "bundle.image", "image.crop is required"),
        ({"fit": "contain"}, "bundle.image", "image.crop is allowed with"),
        ({"background": 256}, "bundle.image", "image.background"),
        ({"fill": -1}, "bundle.image", "image.fill"),
        ({"crops": {"side": 64, "split": True}}, "bundle.image", "image.crops"),
    ],
)
def test_nonsense_is_refused_by_name(change: dict[str, Any], code: str, named: str) -> None:
    with pytest.raises(BundleError) as caught:
        image_spec_from_json(image_spec_to_json(GIT) | change)
    assert caught.value.code == code
    assert named in caught.value.message


def test_a_missing_field_is_named() -> None:
    value = image_spec_to_json(GIT)
    del value["filter"]
    with pytest.raises(BundleError, match=r"\[bundle.missing_field\].*'filter'"):
        image_spec_from_json(value)


def test_the_grids_of_crops_follow_from_the_sizes() -> None:
    assert SPLIT.grids == ((1, 4), (2, 4), (3, 4), (4, 4), (4, 1), (4, 2), (4, 3))
    assert SPLIT.most_crops == 17
    small = ImageSpec((364, 364), "longest_edge", "lanczos", crops=Crops(364, True))
    for one in (small, replace(SPLIT, crops=Crops(364, False))):
        assert (one.grids, one.most_crops) == ((), 1)
