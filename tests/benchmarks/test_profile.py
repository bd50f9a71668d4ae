"""Time per operation in one form for all formats, and the machine's limits."""

from pathlib import Path

import pytest
from tiny_formats import write
from tiny_mlpackage import write_bundle as write_coreml_bundle

from edgecap.benchmarks import limits
from edgecap.benchmarks.graph_work import _Graph, count
from edgecap.benchmarks.growth import growth
from edgecap.benchmarks.litert_profile import read_summary
from edgecap.benchmarks.profile import profile, summed, table
from edgecap.benchmarks.repeat import spreads
from edgecap.bundle.io import open_bundle
from edgecap.core.errors import GateError

SUMMARY = """
========= Run Order =========
        [node type]  [start]  [first]  [avg ms]  [%]  [cdf%]  [mem KB] [times called] [Name]
               CAST    0.000    0.077     0.073  0.1%   0.1%    0.000        2  [Builtin]:0
  Delegate/Fully Connected (NC, F32) GEMM  0.000 0.561 0.570 0.658% 0.903%  0.000 2 [Delegate]:5
========= Top by Computation Time =========
               CAST    0.000    0.077     0.073  0.1%   0.1%    0.000        2  [Builtin]:0
"""


def test_rows_are_per_run_and_shares_of_their_function() -> None:
    rows = summed("decode", [("MatMul", 3.0), ("Add", 1.0), ("MatMul", 4.0), ("Add", 2.0)], runs=2)
    assert [(r["operation"], r["calls"], r["ms"], r["share"]) for r in rows] == [
        ("MatMul", 1, 3.5, 0.7),
        ("Add", 1, 1.5, 0.3),
    ]
    assert "70.0%" in table(rows)[1] and table(rows)[0].startswith("decode")


def test_litert_s_table_is_read_in_run_order_once() -> None:
    gemm = ("Fully Connected (NC, F32) GEMM", 0.57)
    assert list(read_summary(SUMMARY)) == [("CAST", 0.073)] * 2 + [gemm] * 2


@pytest.mark.parametrize("format_", ["onnx", "tflite", "coreml"])
def test_every_format_has_a_profile_of_its_own_operations(format_: str, tmp_path: Path) -> None:
    if format_ == "coreml":
        bundle = write_coreml_bundle(tmp_path / "tiny-coreml", "portable")
    else:
        bundle = write(format_, tmp_path)
    rows = profile(bundle)
    functions = {row["function"] for row in rows}
    assert functions == {"encode", "decode"}
    for function in functions:
        own = [row for row in rows if row["function"] == function]
        assert sum(row["share"] for row in own) == pytest.approx(1)
        assert [row["ms"] for row in own] == sorted((row["ms"] for row in own), reverse=True)
        assert all(row["calls"] >= 1 for row in own)
    words = {"onnx": "MatMul", "tflite": "GEMM", "coreml": "linear"}
    assert any(words[format_] in row["operation"] for row in rows)


def test_a_bundle_that_does_not_open_has_no_profile(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="has no profile: "):
        profile(tmp_path)


def test_work_is_counted_as_the_graphs_say(tiny_bundle_made: Path) -> None:
    found = count(open_bundle(tiny_bundle_made))
    # P = 196 patches of 3 values to 8, twice, and the embedding of 4.
    assert found["encode"].macs == 2 * 196 * 3 * 8 + 8 * 4
    assert found["encode"].int8_macs == 0
    assert found["encode"].weights == 2 * 3 * 8 + 8 * 4
    # C = 292 rows of 8, for scores and values; the vocabulary; keys and values of the new row.
    assert found["decode"].macs == 2 * 292 * 8 + 8 * 4096 + 2 * 8 * 8
    assert found["decode"].weights == 8 * 4096 + 2 * 8 * 8
    assert found["decode"].state_bytes == 2 * 292 * 8 * 4


def test_products_of_two_dequantised_factors_are_int8(tmp_path: Path) -> None:
    import onnx

    text = """<ir_version: 8, opset_import: ["" : 17]>
    products (float[1,2,4] image) => (float[1,2,6] a, float[1,2,2] b)
    <int8[6,4] w = {WEIGHTS}, float s = {0.5}, int8 z = {0}> {
      q = QuantizeLinear(image, s, z)
      x = DequantizeLinear(q, s, z)
      f = DequantizeLinear(w, s, z)
      t = Transpose<perm = [1, 0]>(f)
      a = MatMul(x, t)
      c = MatMul(image, t)
      y = Transpose<perm = [0, 2, 1]>(c)
      b = MatMul(c, y)
    }""".replace("WEIGHTS", ", ".join(["1"] * 24))
    onnx.save(onnx.parser.parse_model(text), tmp_path / "products.onnx")
    graph = _Graph(tmp_path / "products.onnx")
    products = {node.output[0]: node for node in graph.nodes if node.op_type == "MatMul"}
    assert {name for name, node in products.items() if graph.is_int8(node)} == {"a"}
    assert [graph.macs(products[name]) for name in "acb"] == [48, 48, 24]


def test_a_floor_is_the_longer_of_arithmetic_and_memory(
    tiny_bundle_made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "int8_gops", lambda threads: 1.0)
    monkeypatch.setattr(limits, "fp32_gops", lambda threads: 1.0)
    monkeypatch.setattr(limits, "bandwidth_gbs", lambda size: 1.0)
    (parts,) = limits.measure([tiny_bundle_made])["bundles"].values()
    assert parts["encode"]["floor_ms"] == pytest.approx(2 * 9440 / 1e6)
    assert parts["decode"]["bytes"] == 4 * 32896 + 18688
    assert parts["decode"]["floor_ms"] == pytest.approx(150272 / 1e6)


def test_peaks_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SIDE", 64)
    monkeypatch.setattr(limits, "RUNS", 2)
    assert limits.int8_gops() > 0 and limits.fp32_gops() > 0
    assert limits.bandwidth_gbs(1 << 20) > 0


@pytest.mark.parametrize(
    ("axis", "values"), [("length", [1, 2, 4, 8, 16, 32, 48]), ("images", [1, 2, 4, 8, 16])]
)
def test_growth_has_a_time_for_every_value(
    axis: str, values: list[int], tiny_bundle_made: Path
) -> None:
    told = growth(tiny_bundle_made, axis, rounds=1)
    assert list(told["ms"]) == values and min(told["ms"].values()) >= 0
    assert told["machine"]["cpu"]


def test_growth_over_threads_ends_at_the_most(tiny_bundle_made: Path) -> None:
    assert list(growth(tiny_bundle_made, "threads", rounds=1, most_threads=2)["ms"]) == [1, 2]


def test_a_spread_is_of_all_repetitions() -> None:
    repeated = [{"a": {"caption_ms": value}} for value in (2.0, 2.1, 1.9, 2.0)]
    (one,) = spreads(repeated)
    assert one["spread"] == pytest.approx(0.1) and (one["least"], one["most"]) == (1.9, 2.1)
