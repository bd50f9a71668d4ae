"""What a start imports: nothing that a first caption does not need."""

from __future__ import annotations

import subprocess
import sys

import edgecap.runtime


def imported(code: str) -> set[str]:
    """Modules after `code` in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())


def test_importing_the_runtime_imports_neither_numpy_nor_pillow() -> None:
    assert not {"numpy", "PIL", "edgecap.runtime.loading"} & imported("import edgecap.runtime")


def test_every_public_name_is_found_at_its_first_use() -> None:
    assert all(getattr(edgecap.runtime, name) for name in edgecap.runtime.__all__)
    assert set(edgecap.runtime.__all__) <= set(dir(edgecap.runtime))


def test_listing_formats_reads_no_package_metadata_where_none_declares_one() -> None:
    found = imported("from edgecap.core.formats import FORMATS; assert 'onnx' in list(FORMATS)")
    assert "importlib.metadata" not in found
