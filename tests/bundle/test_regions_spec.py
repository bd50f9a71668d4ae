"""How boxes are written, in a manifest: read as written, nonsense refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgecap.bundle.regions_spec import (
    RegionsSpec,
    check_regions_spec,
    regions_spec_from_json,
    regions_spec_to_json,
)
from edgecap.core.errors import BundleError

MARKS = {"phrase": 1, "end_phrase": 2, "object": 3, "end_object": 4, "delimiter": 5}
CELLS = RegionsSpec("cells2", 10, 1024, marks=MARKS)


@pytest.mark.parametrize(
    "spec", [CELLS, RegionsSpec("edges4", 13, 57, 4), RegionsSpec("loc1000", 50, 1000)]
)
def test_a_spec_survives_json(spec: RegionsSpec) -> None:
    assert regions_spec_from_json(json.loads(json.dumps(regions_spec_to_json(spec)))) == spec


def test_marks_may_be_left_out_where_there_are_none() -> None:
    value = {"codec": "loc1024", "first": 3, "count": 1024}
    assert regions_spec_from_json(value) == RegionsSpec("loc1024", 3, 1024)


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"codec": "polygons"}, "bundle.regions", "codec is 'polygons'"),
        ({"first": -1}, "bundle.regions", "first id"),
        ({"count": 1}, "bundle.regions", "places"),
        ({"count": 1 << 40}, "bundle.regions", "places"),
        ({"count": 1000}, "bundle.regions", "not a square grid"),
        ({"bin_px": 4}, "bundle.regions", "bin_px must be 1-4096 with edges4"),
        ({"marks": {}}, "bundle.regions", "marks must name phrase"),
        ({"marks": MARKS | {"object": 11}}, "bundle.regions", "not places"),
        ({"marks": MARKS | {"object": 1}}, "bundle.regions", "distinct ids"),
        ({"order": "xyxy"}, "bundle.unknown_field", "'order'"),
    ],
)
def test_nonsense_is_refused_by_name(change: dict[str, Any], code: str, named: str) -> None:
    with pytest.raises(BundleError) as caught:
        regions_spec_from_json(regions_spec_to_json(CELLS) | change)
    assert caught.value.code == code
    assert named in caught.value.message


def test_ids_beyond_the_vocabulary_are_refused() -> None:
    check_regions_spec(CELLS, vocabulary=1034)
    with pytest.raises(BundleError, match="beyond the 1033"):
        check_regions_spec(CELLS, vocabulary=1033)
