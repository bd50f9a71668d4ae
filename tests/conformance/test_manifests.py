"""edgecap's reader of manifests against the vectors."""

import base64
from typing import Any

import pytest
from vectors import topic

from edgecap.bundle.schemas import manifest_from_json
from edgecap.core.errors import BundleError
from edgecap.core.typed import parse

MANIFESTS = topic("manifests")
CHANGED = [
    pytest.param(told["base"], case, id=f"{name}: {case['name']}")
    for name in ("manifests", "manifests2", "manifests_cached", "manifests_crops")
    for told in (topic(name),)
    for case in told["cases"]
]


def code_of(data: bytes) -> str | None:
    try:
        manifest_from_json(parse(data, "manifest.json"))
    except BundleError as error:
        return error.code
    return None


@pytest.mark.parametrize("text, case", CHANGED)
def test_changed_manifests(text: str, case: dict[str, Any]) -> None:
    for old, new in case["replace"]:
        assert old in text
        text = text.replace(old, new, 1)
    assert code_of(text.encode()) == case["code"]


@pytest.mark.parametrize("case", MANIFESTS["files"], ids=lambda case: case["name"])
def test_files_that_are_no_manifest(case: dict[str, Any]) -> None:
    assert code_of(base64.b64decode(case["base64"])) == case["code"]
