"""edgecap's reader of packed bundles against the vectors."""

import zlib
from pathlib import Path
from typing import Any

import pytest
from vectors import kept, topic

from edgecap.bundle.container import SUFFIX, open_container
from edgecap.core.errors import BundleError

CASES = topic("containers")["cases"]


def test_there_are_good_and_bad_ones() -> None:
    codes = {case["code"] for case in CASES}
    assert codes == {None, "bundle.container", "bundle.path", "bundle.altered"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["what"])
def test_archives(tmp_path: Path, case: dict[str, Any]) -> None:
    data = kept("containers", case["at"], (case["length"],)).tobytes()
    packed = tmp_path / f"one{SUFFIX}"
    packed.write_bytes(data)
    if case["code"] is not None:
        with pytest.raises(BundleError) as caught:
            open_container(packed)
        assert caught.value.code == case["code"]
        return
    contents = open_container(packed).contents
    assert list(contents) == [name for name, _, _ in case["files"]]
    for name, offset, size in case["files"]:
        assert offset % 64 == 0
        assert zlib.crc32(contents[name]) == zlib.crc32(data[offset : offset + size])
