"""Trials depend on their seed alone; sweeps go on; reports come out; the command refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_ablations import ABLATIONS, TINY_ARM, built, images

from edgecap.benchmarks.reference.ablations import locations, sweep, towers, trial
from edgecap.benchmarks.reference.ablations.__main__ import main
from edgecap.benchmarks.reference.ablations.differences import difference
from edgecap.benchmarks.reference.ablations.experiment import Ablation, Arm, Budget, Row
from edgecap.benchmarks.reference.ablations.report import draw, to_json, to_markdown
from edgecap.benchmarks.reference.ablations.store import Store
from edgecap.benchmarks.reference.evaluate import KEYS
from edgecap.core.errors import InputError
from edgecap.reference.model.captioner import CaptionModel

# ---------------------------------------------------------------------------------- trials


@pytest.mark.full
def test_a_trial_depends_on_its_seed_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    first, again, other = (trial.run(TINY_ARM, seed, 32, 4) for seed in (0, 0, 1))
    left = torch.get_num_threads()
    torch.set_num_threads(before)
    assert first["metrics"] == again["metrics"]
    assert first["metrics"]["loss"] != other["metrics"]["loss"]
    assert first["metrics"].keys() == {*KEYS, "loss", "pair_named"}
    assert first["images"] == 32 and first["parameters"] > 50_000
    assert left == 3


def test_a_speaker_reads_two_token_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that only says one pair of cells is read as one box, again and again."""
    arm = ABLATIONS["locations"].arms[1]
    config = replace(arm.config, width=16, layers=1, embedding=8, text_length=8)
    speaker = trial.Speaker(built(CaptionModel, config), arm.as_edges)
    cells = [locations.FIRST_CELL_ID + c for c in (0, 29)]
    captions = [SimpleNamespace(tokens=cells)]
    monkeypatch.setattr(speaker._captioner, "caption", lambda *_, **__: captions)
    (caption,) = speaker.caption([images(1)[0].numpy()], "en")
    assert caption.raw == "<loc_01><loc_01><loc_03><loc_03>"


# ---------------------------------------------------------------------------------- sweeps


def fake_row(arm: Arm, seed: int, images: int, scenes: int) -> Row:
    value = 0.5 + 0.01 * seed - 0.1 * (arm.name == "b")
    return {
        "arm": arm.name,
        "seed": seed,
        "images": images,
        "parameters": 1000,
        "train_s": 1.0,
        "evaluate_s": 1.0,
        "metrics": {"exact": value, "loss": 2 - value, "relation": None},
    }


FAKE = Ablation(
    "fake",
    "b is worse.",
    "All equal.",
    images=64,
    arms=(replace(TINY_ARM, name="a"), replace(TINY_ARM, name="b", share=0.5)),
    keys=("exact", "loss", "relation"),
    contrasts=(("a", "b"),),
    facts=lambda: [{"name": "a", "count": 1}, {"name": "b", "count": "–"}],
    facts_about="Counted.",
    drawn=("count",),
)


def test_a_sweep_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, int]] = []

    def run(arm: Arm, seed: int, images: int, scenes: int) -> Row:
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append((arm.name, seed))
        return fake_row(arm, seed, images, scenes)

    with monkeypatch.context() as cut:
        cut.setattr(sweep, "run", run)
        with pytest.raises(KeyboardInterrupt):
            sweep.gather(FAKE, Budget(), Store(tmp_path, "fake"))
    assert ran == [("a", 0), ("b", 0), ("a", 1)]
    path = tmp_path / "fake.jsonl"
    path.write_bytes(path.read_bytes()[:-9])  # the last line was being written
    ran.clear()
    monkeypatch.setattr(sweep, "run", lambda *task: (ran.append(task[:2]), fake_row(*task))[1])
    monkeypatch.setattr(sweep, "machine", lambda: pytest.fail("facts were gathered already"))
    facts, rows = sweep.gather(FAKE, Budget(), Store(tmp_path, "fake"))
    assert [(arm.name, seed) for arm, seed in ran] == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert [(row["arm"], row["seed"]) for row in rows] == [(a, s) for s in range(3) for a in "ab"]
    ran.clear()
    assert sweep.gather(FAKE, Budget(), Store(tmp_path, "fake")) == (facts, rows) and not ran
    sweep.gather(FAKE, Budget(seeds=1, images=256), Store(tmp_path, "fake"))
    assert len(ran) == 2  # another budget is other work


def test_a_run_of_another_ablation_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "run", fake_row)
    sweep.gather(FAKE, Budget(1), Store(tmp_path, "fake"))
    monkeypatch.setattr(sweep, "run", lambda *_: pytest.fail("it was run already"))
    other = replace(FAKE, name="other", arms=(replace(FAKE.arms[0], name="mine"),), facts=None)
    _, (row,) = sweep.gather(other, Budget(1), Store(tmp_path, "other"))
    assert row["arm"] == "mine" and row["metrics"]["exact"] == 0.5


@pytest.mark.full
def test_runs_in_processes_give_the_same_figures(tmp_path: Path) -> None:
    _, rows = sweep.gather(
        replace(FAKE, arms=(TINY_ARM,), facts=None),
        Budget(seeds=2, images=16, scenes=2, jobs=2),
        Store(tmp_path, "fake"),
    )
    assert rows[1]["metrics"] == trial.run(TINY_ARM, 1, 16, 2)["metrics"]


@pytest.mark.parametrize("line", ["{}", "[1]", "nothing", '{"kex": 1}'])
def test_foreign_rows_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "fake.jsonl").write_text(f'{{"key": "x"}}\n{line}\n')
    with pytest.raises(InputError, match="line 2") as caught:
        Store(tmp_path, "fake")
    assert caught.value.code == "ablations.rows"


# ---------------------------------------------------------------------------------- reports


def rows_of(*values: tuple[str, int, float]) -> list[Row]:
    return [{"arm": arm, "seed": seed, "metrics": {"exact": x}} for arm, seed, x in values]


def test_differences_are_paired_by_seed() -> None:
    # Seeds differ by far more than arms do.
    rows = rows_of(
        ("a", 0, 0.1), ("a", 1, 0.5), ("a", 2, 0.9), ("b", 0, 0.08), ("b", 1, 0.48), ("b", 2, 0.87)
    )
    one = difference(rows, "a", "b", "exact")
    assert one is not None and one.seeds == 3 and one.decided
    assert one.mean == pytest.approx(0.07 / 3)
    assert one.half == pytest.approx(4.303 * 0.0057735 / 3**0.5, rel=1e-3)
    null = difference(
        rows_of(("a", 0, 0.1), ("b", 0, 0.2), ("a", 1, 0.2), ("b", 1, 0.1)), "a", "b", "exact"
    )
    assert null is not None and not null.decided and null.mean == pytest.approx(0)
    single = difference(rows_of(("a", 0, 0.1), ("b", 0, 0.2), ("a", 1, 0.2)), "a", "b", "exact")
    assert single is not None and single.half is None and not single.decided
    assert difference(rows_of(("a", 0, 0.1), ("b", 1, 0.2)), "a", "b", "exact") is None


def test_a_report_has_tables_and_a_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "run", fake_row)
    facts, rows = sweep.gather(FAKE, Budget(), Store(tmp_path, "fake"))
    text = to_markdown(FAKE, facts, rows)
    assert "| a | 0.00 | 64 | 1 | 51.0 (50.0 … 52.0) | 1.490 (1.480 … 1.500) | – |" in text
    assert "| a − b | **+10.0 ± 0.0** | **-0.100 ± 0.000** | – |" in text
    assert "| b | – |" in text
    assert to_json(FAKE, facts, rows)["differences"][0]["decided"]
    for drawn in ((facts, rows), (facts, []), ([], rows)):
        assert draw(tmp_path / "fake.png", FAKE, *drawn)
        assert (tmp_path / "fake.png").read_bytes().startswith(b"\x89PNG")
        (tmp_path / "fake.png").unlink()
    assert not draw(tmp_path / "fake.png", replace(FAKE, drawn=()), facts, [])
    assert not (tmp_path / "fake.png").exists()


def test_the_command_leaves_rows_table_and_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(towers, "ABLATION", FAKE)
    monkeypatch.setattr(sweep, "run", fake_row)
    assert main(["towers", "--seeds", "2", "--out", str(tmp_path / "new"), "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["claim"] == "b is worse." and len(found["runs"]) == 4
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "towers.jsonl",
        "towers.md",
        "towers.png",
    }
    assert main(["towers", "--seeds", "2", "--out", str(tmp_path / "new")]) == 0
    assert "Claim: b is worse." in capsys.readouterr().out


def test_without_seeds_facts_are_counted_and_nothing_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(towers, "ABLATION", FAKE)
    monkeypatch.setattr(sweep, "run", lambda *_: pytest.fail("trained"))
    given = ["towers", "--seeds", "0", "--out", str(tmp_path)]
    assert main([*given, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["facts"]] == ["a", "b"] and found["runs"] == []
    assert main(given) == 0
    assert "Counted." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["tower"], "ablation.unknown"),
        (["towers", "--seeds", "-1"], "ablations.seeds"),
        (["mentions", "--seeds", "0"], "ablations.facts"),
        (["towers", "--images", "100"], "ablations.images"),
        (["towers", "--scenes", "1"], "ablations.scenes"),
        (["towers", "--jobs", "0"], "ablations.jobs"),
        (["towers", "--out", "FILE/below"], "output.unwritable"),
    ],
)
def test_bad_requests_are_refused_before_work(
    arguments: list[str], code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    given = [text.replace("FILE", str(tmp_path / "file")) for text in arguments]
    assert main(given) == 2
    assert code in capsys.readouterr().err
