"""The bench with scripted processes for targets: what it measures, reports and survives."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgecap.benchmarks import runner
from edgecap.benchmarks.machine import machine, peak_rss_mb
from edgecap.benchmarks.protocol import BATCH, TIMED, BenchPlan
from edgecap.benchmarks.report import (
    SHOWN,
    notes,
    to_csv,
    to_json,
    to_markdown,
    to_table,
    write_files,
)
from edgecap.benchmarks.runner import Row, Target, Worker, bench, times_faster
from edgecap.benchmarks.targets import images
from edgecap.core.errors import GateError

SCRIPT = Path(__file__).parents[1] / "support" / "scripted_worker.py"
PARITY = {"next_token": 0.995, "captions": 0.75}
PLAN = BenchPlan(rounds=2, starts=2, encode_image=2, decode_step=3, caption=1, scenes=8)


@pytest.fixture(scope="module")
def files() -> Iterator[list[Path]]:
    with images(2) as made:
        yield made


def target(
    name: str, files: list[Path], behaviour: str = "good", ms: float = 1, **more: Any
) -> Target:
    command = (sys.executable, str(SCRIPT), behaviour, str(ms), *map(str, files))
    return Target(name, command, size_bytes=2_500_000, **more)


@pytest.fixture(scope="module")
def rows(files: list[Path]) -> list[Row]:
    return bench(
        [
            target("PyTorch", files, ms=12, reference=True),
            target("quick", files, "noisy", ms=4, parity=PARITY),
            target("broken", files, "dies"),
        ],
        PLAN,
    )


def test_every_figure_is_measured(rows: list[Row]) -> None:
    reference, quick, _ = rows
    assert quick.size_mb == 2.5
    assert quick.cold_start_ms is not None and 50 < quick.cold_start_ms < 60_000
    assert quick.peak_rss_mb is not None and 10 < quick.peak_rss_mb < 4000
    assert quick.about["first_caption"]
    repeats = PLAN.repeats()
    for key in TIMED:
        assert quick.times[key].samples == PLAN.rounds * repeats[key]
        assert quick.times[key].p50 <= quick.times[key].p90
    assert reference.times["decode_step_ms"].p50 == pytest.approx(12)
    assert quick.times["decode_step_ms"].p50 == pytest.approx(4)
    assert quick.captions_per_s == pytest.approx(BATCH * 1e3 / quick.times["batch_ms"].p50)
    assert quick.accuracy["n"] == PLAN.scenes and quick.accuracy["exact"] == 1


def test_speed_is_told_against_the_reference(rows: list[Row]) -> None:
    reference, quick, _ = rows
    assert reference.times_faster == dict.fromkeys(TIMED, 1.0)
    assert quick.times_faster["decode_step_ms"] == pytest.approx(3)


def test_a_target_that_dies_costs_only_its_own_row(rows: list[Row]) -> None:
    *good, broken = rows
    assert [row.error for row in good] == [None, None]
    assert broken.error is not None and "Segmentation fault of a kind" in broken.error
    assert not broken.accuracy


def test_an_evaluator_is_judged_by_its_words_and_not_by_its_speed(files: list[Path]) -> None:
    reference, evaluated = bench(
        [target("PyTorch", files, reference=True), target("coreml", files, "evaluated")], PLAN
    )
    assert evaluated.accuracy["exact"] == 1
    assert not evaluated.timed and evaluated.cold_start_ms is None
    assert not evaluated.times and not evaluated.times_faster and evaluated.peak_rss_mb is None
    text = to_markdown([reference, evaluated], PLAN, machine())
    (note,) = notes([reference, evaluated])
    assert note in text
    assert note.startswith("coreml was evaluated by mlprogram")
    assert "speed is not a device's" in note and "Neural Engine" in note


def test_ratios_are_taken_round_by_round() -> None:
    def rounds(*times: float) -> list[dict[str, list[float]]]:
        return [dict.fromkeys(TIMED, [t, t, 99.0]) for t in times]

    # The machine slowed tenfold in the second round, for both.
    assert times_faster(rounds(2, 20, 2), rounds(1, 10, 1)) == dict.fromkeys(TIMED, 2.0)
    assert times_faster(rounds(2, 2), rounds(1)) == dict.fromkeys(TIMED, 2.0)
    assert times_faster(rounds(2), []) == {}


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [("refused", r"\[bundle.altered\] model.bin"), ("crash", "RuntimeError: no such engine")],
)
def test_a_target_that_will_not_load_says_why(
    files: list[Path], behaviour: str, words: str
) -> None:
    with pytest.raises(GateError, match=f"bad: .*{words}"):
        Worker(target("bad", files, behaviour), 1)


def test_a_target_that_hangs_is_ended(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LIMIT_S", 0.3)
    with pytest.raises(GateError, match="stuck: ended without a reply"):
        Worker(target("stuck", files, "hangs"), 1)


def test_memory_is_of_this_process_and_grows_with_it() -> None:
    code = (
        "from edgecap.benchmarks.machine import peak_rss_mb\n"
        "before = peak_rss_mb()\n"
        "held = bytearray(b'x') * (200 << 20)\n"
        "print(peak_rss_mb() - before)"
    )
    grown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 180 < float(grown.stdout) < 500
    assert peak_rss_mb() > 10


def test_the_report_holds_all_figures(rows: list[Row], tmp_path: Path) -> None:
    write_files(tmp_path, rows, PLAN, machine())
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"report.md", "report.json", "report.csv", "latency.png"}
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert told["targets"][1]["times"]["caption_ms"]["p50"] == rows[1].times["caption_ms"].p50
    assert told["plan"]["rounds"] == PLAN.rounds
    assert told["machine"]["cpu"] and told["machine"]["versions"]["numpy"]
    assert (tmp_path / "latency.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "![Latency" in text and "broken failed: " in text


def test_tables_agree_with_each_other(rows: list[Row]) -> None:
    read = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert [row["target"] for row in read] == ["PyTorch", "quick", "broken"]
    assert float(read[1]["decode_step_ms_p50"]) == rows[1].times["decode_step_ms"].p50
    assert float(read[1]["exact"]) == 1 and "Segmentation" in read[2]["error"]
    lines = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in to_markdown(rows, PLAN, machine()).splitlines()
        if line.startswith("| ")
    ]
    assert {len(line) for line in lines[1:]} == {4}
    table = {name: cells for name, *cells in lines[2:]}
    assert table["size MB"] == ["2.5", "2.5", "2.5"]
    assert table["decode step ms p50 / p90"][1].startswith(
        f"{rows[1].times['decode_step_ms'].p50:.2f} / "
    )
    assert table["exact %"] == ["100.0", "100.0", "–"]
    assert table["chair_i %"] == ["0.0", "0.0", "–"]
    assert table["miou_named %"][0] == f"{100 * rows[0].accuracy['miou_named']:.1f}"
    assert table["malformed"] == ["0", "0", "–"]  # a number of boxes
    assert {f"{key} %" for key in SHOWN} - set(table) == {"malformed %"}
    assert table["parity, next token %"] == ["–", "99.5", "–"]
    assert table["parity, captions %"] == ["–", "75.0", "–"]
    assert (read[1]["parity_next_token"], read[0]["parity_next_token"]) == ("0.995", "")
    assert to_table(rows).row_count == len(table)


def test_a_row_without_figures_is_still_a_row() -> None:
    failed = Row("none", error="would not start")
    assert "| size MB | – |" in to_markdown([failed], PLAN, machine())
    assert "would not start" in to_csv([failed])
    assert to_json([failed], PLAN, machine())["targets"][0]["error"] == "would not start"
