"""The bench with scripted processes for targets: what it measures, reports and survives."""

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgecap.benchmarks import process
from edgecap.benchmarks.energy import Meter
from edgecap.benchmarks.machine import machine, peak_rss_mb
from edgecap.benchmarks.process import Target, Worker
from edgecap.benchmarks.protocol import BATCH, TIMED, BenchPlan
from edgecap.benchmarks.report import (
    SCHEMA,
    SHOWN,
    Report,
    notes,
    to_csv,
    to_json,
    to_markdown,
    write_files,
)
from edgecap.benchmarks.runner import Measured, Row, bench, times_faster
from edgecap.benchmarks.targets import images
from edgecap.benchmarks.terminal import tables
from edgecap.core.errors import GateError

SCRIPT = Path(__file__).parents[1] / "support" / "scripted_worker.py"
PARITY = {"next_token": 0.995, "captions": 0.75}
PLAN = BenchPlan(
    rounds=3, starts=2, decode_step=3, pause=0, batches=(1, 8), batch_rounds=1, scenes=8
)


@pytest.fixture(scope="module")
def files() -> Iterator[list[Path]]:
    with images(2) as made:
        yield made


def report(rows: list[Row], **more: Any) -> Report:
    return Report(Measured(rows, None), PLAN, machine(), {}, **more)


def target(
    name: str, files: list[Path], behaviour: str = "good", ms: float = 1, **more: Any
) -> Target:
    command = (sys.executable, str(SCRIPT), behaviour, str(ms), *map(str, files))
    return Target(name, command, size_bytes=2_500_000, **more)


@pytest.fixture(scope="module")
def measured(files: list[Path]) -> Measured:
    return bench(
        [
            target("PyTorch", files, ms=12, reference=True),
            target("quick", files, "noisy", ms=4, parity=PARITY),
            target("broken", files, "dies"),
        ],
        PLAN,
    )


@pytest.fixture(scope="module")
def rows(measured: Measured) -> list[Row]:
    return measured.rows


def test_every_figure_is_measured(rows: list[Row]) -> None:
    reference, quick, _ = rows
    assert quick.size_mb == 2.5
    assert quick.cold_start_ms is not None and 50 < quick.cold_start_ms < 60_000
    assert quick.peak_rss_mb is not None and 10 < quick.peak_rss_mb < 4000
    assert quick.steady_rss_mb is not None and 10 < quick.steady_rss_mb <= quick.peak_rss_mb
    assert quick.about["first_caption"] and quick.about["warm_up_runs"] == 3
    repeats = PLAN.repeats() | {"first_token_ms": 1, "token_ms": 1}
    for key in set(TIMED) - {"caption_after_pause_ms"}:
        times = quick.times[key]
        assert times.samples == PLAN.rounds * repeats[key]
        assert times.p50 <= times.p90 <= times.p99
    assert reference.times["decode_step_ms"].p50 == pytest.approx(12)
    assert quick.times["decode_step_ms"].p50 == pytest.approx(4)
    assert quick.times["first_token_ms"].p50 == pytest.approx(2)
    assert quick.batches == {1: pytest.approx(250), 8: pytest.approx(250)}
    assert quick.captions_per_s == quick.batches[BATCH]
    assert quick.accuracy["n"] == PLAN.scenes and quick.accuracy["exact"] == 1


def test_a_further_token_is_a_share_of_what_follows_the_first(rows: list[Row]) -> None:
    quick = rows[1]
    further = [
        (whole - first) / token
        for one in quick.rounds
        for whole, first, token in zip(
            *(one[key]["wall"] for key in ("caption_ms", "first_token_ms", "token_ms")),
            strict=True,
        )
    ]
    tokens = quick.about["caption_tokens"]
    assert {round(value) for value in further} <= set(tokens)  # the end is a step too
    assert quick.tokens_per_s == pytest.approx(1e3 / quick.times["token_ms"].p50)


def test_speed_is_told_against_the_first_target(rows: list[Row]) -> None:
    reference, quick, _ = rows
    assert {one.value for one in reference.times_faster.values()} == {1.0}
    assert quick.times_faster["decode_step_ms"].value == pytest.approx(3)
    assert quick.same_captions == 1.0


def test_a_quiet_machine_is_told(measured: Measured) -> None:
    assert measured.noise is not None and measured.noise.quiet  # its clock stands still


def test_a_target_that_dies_costs_only_its_own_row(rows: list[Row]) -> None:
    *good, broken = rows
    assert [row.error for row in good] == [None, None]
    assert broken.error is not None and "Segmentation fault of a kind" in broken.error
    assert not broken.accuracy


def test_an_evaluator_is_judged_by_its_words_and_not_by_its_speed(files: list[Path]) -> None:
    measured = bench(
        [target("PyTorch", files, reference=True), target("coreml", files, "evaluated")], PLAN
    )
    _, evaluated = measured.rows
    assert evaluated.accuracy["exact"] == 1
    assert not evaluated.timed and evaluated.cold_start_ms is None
    assert not evaluated.times and not evaluated.times_faster and evaluated.peak_rss_mb is None
    result = Report(measured, PLAN, machine(), {})
    (note,) = (note for note in notes(result) if "evaluated" in note)
    assert note in to_markdown(result)
    assert note.startswith("coreml was evaluated by mlprogram")
    assert "speed is not a device's" in note and "Neural Engine" in note


def test_rounds_go_on_for_a_duration(files: list[Path]) -> None:
    plan = BenchPlan(starts=1, pause=0, batches=(), scenes=0, rounds=10**6, duration_s=0.01)
    (row,) = bench([target("only", files)], plan).rows
    assert 3 <= len(row.rounds) < 1000 and not row.batches and not row.accuracy


def test_ratios_are_taken_round_by_round() -> None:
    def rounds(*times: float) -> list[dict[str, Any]]:
        return [
            {key: {"cpu": [t, t, 99.0], "wall": [1.0, 1.0, 1.0]} for key in TIMED} for t in times
        ]

    # The machine slowed tenfold in the second round, for both.
    slowed = times_faster(rounds(2, 20, 2), rounds(1, 10, 1))
    assert {one.value for one in slowed.values()} == {2.0} and set(slowed) == set(TIMED)
    assert times_faster(rounds(2, 2), rounds(1), "wall")["caption_ms"].value == 1.0
    assert times_faster(rounds(2), []) == {}


def test_energy_is_summed_over_packages_and_wraps(tmp_path: Path) -> None:
    def write(package: int, uj: int) -> None:
        zone = tmp_path / f"intel-rapl:{package}"
        zone.mkdir(exist_ok=True)
        (zone / "energy_uj").write_text(str(uj))
        (zone / "max_energy_range_uj").write_text("9000000")

    assert Meter(tmp_path).joules() is None
    write(0, 1_000_000)
    write(1, 8_000_000)
    (tmp_path / "intel-rapl:0:0").mkdir()  # a part of package 0: counted there
    meter = Meter(tmp_path)
    write(0, 3_000_000)
    write(1, 500_000)
    assert meter.joules() == pytest.approx(2 + 1.5)


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
    monkeypatch.setattr(process, "LIMIT_S", 0.3)
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
    write_files(tmp_path, report(rows))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "report.md", "report.json", "report.csv", "report.html", "litertlm_rows.json",
    }  # fmt: skip
    result = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert result["schema"] == SCHEMA
    assert result["targets"][1]["times"]["caption_ms"]["p50"] == rows[1].times["caption_ms"].p50
    assert result["plan"]["rounds"] == PLAN.rounds and result["plan"]["clock"] == "cpu"
    assert result["machine"]["cpu"] and result["machine"]["versions"]["numpy"]
    assert "broken failed: " in (tmp_path / "report.md").read_text(encoding="utf-8")
    manifest = json.loads((tmp_path / "litertlm_rows.json").read_text(encoding="utf-8"))
    (first, second) = manifest["variants"]  # a target that failed has no measured row
    assert second["parity"] == {"same_captions": 1.0, **PARITY} and "quality" not in second
    (row,) = second["measured"]
    assert row["decode_tps"] == pytest.approx(rows[1].tokens_per_s, abs=0.1)
    assert row["ttft_s"] == 0.002 and row["runs"] == PLAN.rounds


def test_tables_agree_with_each_other(rows: list[Row]) -> None:
    read = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert [row["target"] for row in read] == ["PyTorch", "quick", "broken"]
    assert float(read[1]["decode_step_ms_p99"]) == rows[1].times["decode_step_ms"].p99
    assert float(read[1]["captions_per_s_8"]) == rows[1].captions_per_s
    assert float(read[1]["exact"]) == 1 and "Segmentation" in read[2]["error"]
    lines = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in to_markdown(report(rows)).splitlines()
        if line.startswith("| ")
    ]
    assert {len(line) for line in lines[1:]} == {4}
    table = {name: cells for name, *cells in lines[2:]}
    assert table["size MB"] == ["2.5", "2.5", "2.5"]
    assert table["decode step ms p50 / p90 / p99"][1] == "4 / 4 / 4"
    assert table["× first, caption"] == ["1", "3.00 (3.00–3.00)", "–"]
    assert table["exact %"] == ["100.0", "100.0", "–"]
    assert table["chair_i %"] == ["0.0", "0.0", "–"]
    assert table["miou_named %"][0] == f"{100 * rows[0].accuracy['miou_named']:.1f}"
    assert table["malformed"] == ["0", "0", "–"]  # a number of boxes
    assert {f"{key} %" for key in SHOWN} - set(table) == {"malformed %"}
    assert table["parity, next token %"] == ["–", "99.5", "–"]
    assert table["parity, captions %"] == ["–", "75.0", "–"]
    assert "energy J/caption" not in table  # nobody has it
    assert (read[1]["parity_next_token"], read[0]["parity_next_token"]) == ("0.995", "")


def test_a_terminal_of_80_columns_shows_a_line_per_target(
    rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(width=80, markup=False)
    for one in tables([*rows, Row("none", error="would not start")]):
        console.print(one)
    speed, accuracy = capsys.readouterr().out.split("same as")
    for row in rows[:2]:  # the third broke
        assert re.search(rf"^{re.escape(row.name)} .*\d", speed, re.MULTILINE)
    assert f"{rows[0].times['caption_ms'].p50:.1f}" in speed
    assert "75.0" in accuracy  # of the certificate
    assert "none" not in speed + accuracy  # its reason is printed instead


def test_a_row_without_figures_is_still_a_row() -> None:
    failed = Row("none", error="would not start")
    assert "none failed: would not start" in to_markdown(report([failed]))
    assert "would not start" in to_csv([failed])
    assert to_json(report([failed]))["targets"][0]["error"] == "would not start"


def test_what_was_left_out_is_told_with_its_reason(rows: list[Row]) -> None:
    result = Report(Measured(rows, None), PLAN, machine(), {"OpenVINO": "openvino is missing"})
    assert "OpenVINO was left out: openvino is missing" in to_markdown(result)
