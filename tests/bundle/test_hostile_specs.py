"""Whatever a stranger writes into a bundle's data, the answer is a spec or one BundleError."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pytest
from hostile_json import spoilt

from edgecap.bundle.generation_spec import GenerationSpec, Sampling, generation_spec_from_json
from edgecap.bundle.image_spec import Crops, ImageSpec, image_spec_from_json
from edgecap.bundle.regions_spec import MARKS, RegionsSpec, regions_spec_from_json
from edgecap.bundle.text_spec import TextSpec, text_spec_from_json
from edgecap.core.errors import BundleError

MARKED = {name: i for i, name in enumerate(MARKS["cells2"])}
GOOD: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "image, cover": (image_spec_from_json, ImageSpec((8, 8), "cover", "box", 255, crop=(4, 4))),
    "image, crops": (
        image_spec_from_json,
        ImageSpec((9, 9), "longest_edge", "lanczos", crops=Crops(4, True)),
    ),
    "text": (text_spec_from_json, TextSpec("wordpiece", ("a", None), (0,))),
    "generation": (
        generation_spec_from_json,
        GenerationSpec((1,), (2,), 9, 0, (4,), suppress=(3,), sampling=Sampling()),
    ),
    "regions, edges": (regions_spec_from_json, RegionsSpec("edges4", 3, 57, bin_px=4)),
    "regions, cells": (regions_spec_from_json, RegionsSpec("cells2", 9, 64, marks=MARKED)),
}


def lists(value: Any) -> Any:
    """Tuples as lists, as JSON gives them."""
    if isinstance(value, dict):
        return {key: lists(item) for key, item in value.items()}
    return [lists(item) for item in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("name", GOOD)
def test_a_spec_or_a_bundle_error(name: str) -> None:
    read, spec = GOOD[name]
    good = lists(asdict(spec))
    assert read(good) == spec
    refused = 0
    for value in spoilt(good):
        try:
            assert isinstance(read(value), type(spec))
        except BundleError:
            refused += 1
    assert refused > 100
    with suppress(BundleError):
        read(good | {"x_ours": 1})
