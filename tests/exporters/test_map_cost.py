"""The step without its map: the same scores from a smaller graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny_formats import write
from tiny_onnx import keep_beside

from edgecap.bundle.io import open_bundle, seal
from edgecap.exporters import map_cost, tflite_graph
from edgecap.runtime import load
from edgecap.runtime.backends.tflite import interpreter_class


def inputs(captioner: Any) -> dict[str, np.ndarray]:
    k, v = captioner.cache(np.full((1, 224, 224, 3), 90, np.uint8))
    return {
        "token": np.full((1, 1), 7, np.int32),
        "position": np.zeros(1, np.int32),
        "k": k,
        "v": v,
    }


def test_an_onnx_step_without_its_map(tiny_bundle_made: Path, tmp_path: Path) -> None:
    bundle, captioner = open_bundle(tiny_bundle_made), load(tiny_bundle_made)
    with_map, without = map_cost.steps(bundle, inputs(captioner), tmp_path)
    whole, less = with_map(), without()
    assert len(less) == len(whole) - 1
    for a, b in zip(whole[:3], less, strict=True):
        np.testing.assert_array_equal(a, b)
    made = onnx.load(str(tmp_path / "decode.onnx"))
    given = onnx.load(str(tiny_bundle_made / "decode.onnx"))
    assert len(made.graph.node) == len(given.graph.node) - 1  # the slice that cut the map
    assert {i.name for i in given.graph.initializer} - {i.name for i in made.graph.initializer} == {
        "zero",
        "P_long",
    }


def test_an_onnx_step_takes_along_the_weights_beside_it(tiny_bundle: Path, tmp_path: Path) -> None:
    manifest, scratch = open_bundle(tiny_bundle).manifest, tmp_path / "scratch"
    for made in (tiny_bundle / "more", scratch):
        made.mkdir()
    place = "more/weights.bin"
    keep_beside(tiny_bundle / "decode.onnx", place, tiny_bundle / place)
    seal(tiny_bundle, manifest)
    bundle, captioner = open_bundle(tiny_bundle), load(tiny_bundle)
    with_map, without = map_cost.steps(bundle, inputs(captioner), scratch)
    np.testing.assert_array_equal(with_map()[0], without()[0])


def test_a_tflite_step_without_its_map(converted: Any) -> None:
    tree = tflite_graph.read(converted.tflite)
    before = [len(subgraph.operators) for subgraph in tree.subgraphs]
    map_cost.strip_tflite(tree, "decode", "attention")
    fewer = [a - len(s.operators) for a, s in zip(before, tree.subgraphs, strict=True)]
    assert sorted(fewer)[:2] == [0, 0] and max(fewer) > 0  # decode alone
    _, make = interpreter_class()
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((2, 1, 2, 292, 32)).astype(np.float32)
    feeds = {"token": np.int32([[7]]), "position": np.int32([0]), "k": rows, "v": rows}
    whole, less = make(model_content=converted.tflite), make(model_content=tflite_graph.write(tree))
    want, got = (one.get_signature_runner("decode")(**feeds) for one in (whole, less))
    assert want.keys() - got.keys() == {"attention"}
    for name, value in got.items():
        np.testing.assert_allclose(value, want[name], atol=1e-6)


def test_the_command_reports_both(
    tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(tiny_bundle_made), "--n", "1", "--rounds", "2"]
    assert map_cost.main([*given, "--json", "-"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["bundles"]
    assert row["bundle"] == "tiny-onnx-fp32" and row["ratio"] > 0 and row["steps"] > 2
    assert map_cost.main(given) == 0
    assert "of a caption" in capsys.readouterr().out
    assert map_cost.main([str(tiny_bundle_made / "none")]) == 2
    assert "[bundle.missing]" in capsys.readouterr().err


def test_a_format_that_is_not_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert map_cost.main([str(write("coreml", tmp_path))]) == 2
    err = capsys.readouterr().err
    assert "[map_cost.format] tiny-coreml" in err and err.count("\n") == 1
