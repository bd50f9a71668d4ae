"""How far captioners agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgecap.benchmarks.agreement import Said, ask, pairs
from edgecap.runtime import load


def test_a_captioner_agrees_with_itself_and_less_with_another(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    from tiny_onnx import write_bundle

    write_bundle(tmp_path / "other", seed=5)
    canvases = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3)).astype(np.uint8)
    one = ask(load(tiny_bundle), "one", canvases)
    again = ask(load(tiny_bundle), "again", canvases, one.captions)
    other = ask(load(tmp_path / "other"), "other", canvases, one.captions)
    assert len(one.forced) == len(other.forced) >= 3
    found = {pair.names: pair for pair in pairs([one, again, other])}
    assert found["one", "again"].top1 == found["one", "again"].captions == 1
    assert found["one", "other"].top1 < 1 and found["one", "other"].captions < 1


def test_shares_are_counted() -> None:
    a = Said("a", [[1], [2, 3]], np.array([1, 2, 3, 9]))
    b = Said("b", [[1], [2]], np.array([1, 2, 4, 9]))
    (pair,) = pairs([a, b])
    assert (pair.top1, pair.captions) == (0.75, 0.5)
