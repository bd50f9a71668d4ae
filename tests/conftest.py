import gc
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

# Converters make millions of objects that stay: looking for garbage took an eighth of an export.
gc.set_threshold(50_000, 10, 10)

# What needs an environment of its own is collected where there is one (make check-full,
# check-scores, check-optimum).
_OWN = {
    "old_runtime": "EDGECAP_OLD_PYTHON",
    "caption_scores": "EDGECAP_SCORES_PYTHON",
    "optimum": "EDGECAP_OPTIMUM_PYTHON",
}
collect_ignore = [name for name, python in _OWN.items() if python not in os.environ]
if find_spec("ray") is None:  # make check-ray
    collect_ignore.append("on_ray")


@pytest.fixture(scope="session")
def tiny_bundle_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete tiny ONNX bundle; shared, so nobody may change it."""
    from tiny_onnx import write_bundle

    path = tmp_path_factory.mktemp("bundles") / "tiny-onnx-fp32"
    write_bundle(path)
    return path


@pytest.fixture(scope="session")
def tiny_attention_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a step that hands out every layer and head; nobody may change it."""
    from tiny_onnx import write_bundle

    path = tmp_path_factory.mktemp("bundles") / "tiny-attention"
    write_bundle(path, verified=False, attention=True)
    return path


@pytest.fixture
def schema1_bundle(tiny_bundle: Path) -> Path:
    """A copy of the tiny bundle as exports wrote it in schema 1."""
    from schema1 import into_schema1

    return into_schema1(tiny_bundle)


@pytest.fixture
def tiny_bundle(tiny_bundle_made: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the tiny bundle that a test may damage."""
    copy = tmp_path / tiny_bundle_made.name
    shutil.copytree(tiny_bundle_made, copy)
    yield copy
