"""The page of a report: everything inside it, every target in it, drawings that are well formed."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from edgecap.benchmarks import svg
from edgecap.benchmarks.machine import machine
from edgecap.benchmarks.page import page
from edgecap.benchmarks.protocol import TIMED, BenchPlan
from edgecap.benchmarks.report import Report, from_json, lines, to_json, write_files
from edgecap.benchmarks.runner import Measured, Row, Spread, times_faster

NAMES = ("PyTorch S", "S-onnx-w8 <&>", "S-tflite-w8", "S-tflite-w8, C core")


def rows() -> list[Row]:
    made = []
    for number, name in enumerate(NAMES, 1):
        one = {key: {"wall": [10.0 / number], "cpu": [9.0 / number]} for key in TIMED}
        row = Row(name, reference=number == 1, peer=number == 4, size_mb=8.0, rounds=[one] * 4)
        row.times = {key: Spread(10 / number, 11, 12, 4) for key in TIMED}
        row.batches = {1: 10.0 * number, 8: 12.0 * number}
        row.accuracy = {"exact": 0.9 + number / 100}
        made.append(row)
    for row in made:
        row.times_faster = times_faster(made[0].rounds, row.rounds)
    return made


def report() -> Report:
    part = {"name": "decode", "figure": "decode_step_ms", "macs": 1e6, "bytes": 1e6,
            "arithmetic_ms": 0.1, "memory_ms": 0.2, "floor_ms": 0.2}  # fmt: skip
    limits = {"int8_gops": 600.0, "fp32_gops": 150.0, "bandwidth_gbs": 14.0, "precision_note": "p",
              "bundles": {NAMES[1]: {"decode": part}}}  # fmt: skip
    operation = {"function": "decode", "operation": "MatMul", "calls": 3, "ms": 1.0, "share": 1.0}
    return Report(
        Measured(rows(), None), BenchPlan(), machine(), {"OpenVINO": "not here"}, limits,
        {NAMES[1]: [operation]},
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_files(folder, report())
    return folder


def test_the_page_holds_all_it_needs(written: Path) -> None:
    page = (written / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<script|src=|url\(|@import|href=", page)
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page
    assert "S-onnx-w8 &lt;&amp;&gt;" in page and "<&>" not in page
    assert "OpenVINO was left out: not here" in page and "decode: MatMul" in page
    for cell in (cell for line in lines(rows()) for cell in line):
        assert cell.replace("<", "&lt;") in page


def test_every_plot_is_there_and_well_formed(written: Path) -> None:
    page = (written / "report.html").read_text(encoding="utf-8")
    drawings = re.findall(r"<svg.*?</svg>", page, re.S)
    titles = re.findall(r"<h3>(.*?)</h3>", page)
    assert len(drawings) == len(titles) == 7
    assert {"Accuracy, latency and size", "Captions per second", "Distance from the limit"} <= set(
        titles
    )
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        width, height = (float(v) for v in root.attrib["viewBox"].split()[2:])
        for dot in root.iter("circle"):
            assert 0 <= float(dot.attrib["cx"]) <= width
            assert 0 <= float(dot.attrib["cy"]) <= height


def test_a_report_s_json_makes_the_same_page(written: Path) -> None:
    command = [sys.executable, "-m", "edgecap.benchmarks.page", str(written / "report.json")]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert made.strip() == (written / "report.html").read_text(encoding="utf-8").strip()
    told: dict[str, Any] = to_json(report())
    assert to_json(from_json(told))["targets"] == told["targets"]


def test_what_is_no_report_is_refused_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgecap.benchmarks.page", str(tmp_path / "none.json")]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and refused.stdout == ""
    assert (
        refused.stderr.count("\n") == 1 and "none.json cannot be read as a report" in refused.stderr
    )


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 263.0), (0.9, 0.95), (3.0, 3e4)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    for found in (svg.ticks(low, high), svg.decades(low or 0.1, high)):
        assert len(found) <= 12 and all(low <= tick <= high * 1.0001 for tick in found)


def test_labels_do_not_overlap() -> None:
    moved = svg._apart([50.0, 51.0, 52.0, 90.0], 12)
    assert all(b - a >= 12 for a, b in zip(moved, moved[1:], strict=False))


def test_the_curves_of_a_crowded_page_are_those_of_edgecap_alone() -> None:
    written = to_json(report())
    one = next(target for target in written["targets"] if not target["reference"])
    written["targets"] += [one | {"name": f"another {n}", "peer": True} for n in range(9)]
    whole = page(written, [], [""])
    curves = whole.split("<h3>Captions per second</h3>")[1].split("</section>")[0]
    assert "another" not in curves and "S-onnx-w8" in curves and "another 3" in whole
