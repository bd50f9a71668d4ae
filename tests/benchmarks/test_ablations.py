"""Variants differ in what they claim and in nothing else; sweeps go on; reports come out."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgecap.benchmarks.ablations import (
    NAMES,
    batches,
    locations,
    mentions,
    positions,
    prefix,
    sweep,
    towers,
    trial,
)
from edgecap.benchmarks.ablations.__main__ import main
from edgecap.benchmarks.ablations.differences import difference
from edgecap.benchmarks.ablations.encoder_decoder import EncoderDecoder
from edgecap.benchmarks.ablations.experiment import (
    SMALL,
    SMALL_RUN,
    STYLES,
    Ablation,
    Arm,
    Budget,
    Row,
)
from edgecap.benchmarks.ablations.report import draw, to_json, to_markdown
from edgecap.benchmarks.ablations.store import Store
from edgecap.benchmarks.evaluate import KEYS
from edgecap.core.config import CaptionerConfig
from edgecap.core.errors import InputError
from edgecap.core.tokens import EOS_ID, FIRST_LOCATION_ID, ID
from edgecap.model.captioner import Captioner
from edgecap.scenes.splits import drawing
from edgecap.train.config import Stage
from edgecap.train.data import SceneBatches

TINY = CaptionerConfig(width=16, layers=8, heads=2, embedding=8, text_length=8)
TINY_ARM = Arm(
    "tiny",
    replace(SMALL, width=16, layers=2, embedding=8),
    replace(SMALL_RUN, stages=(Stage(112, 32, 8, 40, 4, 32, ("en",)),), warmup_steps=1),
)
ABLATIONS: dict[str, Ablation] = {
    name: import_module(f"edgecap.benchmarks.ablations.{name}").ABLATION for name in NAMES
}


def built(build: object, config: CaptionerConfig = TINY) -> Captioner:
    torch.manual_seed(3)
    return build(config).eval()  # type: ignore[operator]


def shared(a: nn.Module, b: nn.Module) -> set[str]:
    """Names of the weights that two models have alike."""
    ours, theirs = a.state_dict(), b.state_dict()
    return {n for n in ours if n in theirs and torch.equal(ours[n], theirs[n])}


def pictures(n: int, side: int = 224) -> torch.Tensor:
    return torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_an_ablation_is_whole(name: str) -> None:
    ablation = ABLATIONS[name]
    arms = [arm.name for arm in ablation.arms]
    assert ablation.name == name and len(set(arms)) == len(arms)
    assert {arm for contrast in ablation.contrasts for arm in contrast} == set(arms)
    assert set(ablation.keys) <= {*KEYS, "loss", "pair_named"}
    assert ablation.arms or ablation.facts
    keys = [arm.key(seed, 1000, 8) for arm in ablation.arms for seed in (0, 1)]
    assert len(set(keys)) == len(keys)


def test_arms_of_two_ablations_that_are_the_same_share_their_runs() -> None:
    def key(ablation: str, arm: int) -> str:
        one = ABLATIONS[ablation]
        return one.arms[arm].key(0, one.images, 128)

    assert key("towers", 0) == key("prefix", 0) == key("mentions", 0)
    assert key("locations", 0) == key("positions", 3)
    assert TINY_ARM.key(0, 32, 8) != TINY_ARM.key(0, 64, 8) != TINY_ARM.key(0, 64, 9)


# ---------------------------------------------------------------------------------- positions


def test_positions_are_all_that_differs() -> None:
    two, one, none = (built(b) for b in (Captioner, positions.OneAxis, positions.Unplaced))
    apart = {"row", "column"}
    assert shared(two, one) == shared(two, none) == two.state_dict().keys() - apart
    assert one.state_dict().keys() - two.state_dict().keys() == {"position"}
    assert towers.parameters(one) - towers.parameters(two) == (196 - 28) * TINY.width
    assert towers.parameters(two) - towers.parameters(none) == 28 * TINY.width


@pytest.mark.parametrize("build", [Captioner, positions.OneAxis])
def test_a_window_has_the_positions_of_its_place(build: type[Captioner]) -> None:
    model = built(build)
    whole = model.place(14, None).view(14, 14, -1)  # [G,G,D]
    (window,) = model.place(7, torch.tensor([[3, 5]]))  # [g*g,D]
    torch.testing.assert_close(window, whole[3:10, 5:12].flatten(0, 1))


def test_2d_positions_share_rows_and_columns_and_1d_ones_do_not() -> None:
    for build, zero in ((Captioner, True), (positions.OneAxis, False)):
        place = built(build).place(14, None).view(14, 14, -1)  # [G,G,D]
        mixed = place[1:, 1:] - place[:-1, 1:] - place[1:, :-1] + place[:-1, :-1]
        assert (mixed.abs().max() < 1e-6) == zero


# ---------------------------------------------------------------------------------- towers


def test_two_towers_differ_in_what_reads_texts_alone() -> None:
    one, two = built(Captioner), built(towers.equal)
    tower = {n for n in two.state_dict() if n.startswith(("text_blocks.", "text_norm."))}
    assert shared(one, two) == one.state_dict().keys() - {"text_embedding.weight"}
    assert two.state_dict().keys() - one.state_dict().keys() == tower
    tokens = torch.randint(0, 4096, (2, 8))
    two.encode_text(tokens, torch.tensor([3, 8])).sum().backward()
    used = {name for name, p in two.named_parameters() if p.grad is not None and p.grad.any()}
    assert not {n for n in used if n.startswith("blocks.")}
    assert {n for n in used if n.startswith("text_blocks.")}


@pytest.mark.parametrize("build", [towers.equal, towers.narrow, towers.matched])
def test_a_text_tower_does_not_see_padding(build: object) -> None:
    model = built(build)
    tokens = torch.randint(0, 4096, (2, 8))
    length = torch.tensor([3, 8])
    first = model.encode_text(tokens, length)
    tokens[0, 3:] = 7
    torch.testing.assert_close(model.encode_text(tokens, length), first)
    torch.testing.assert_close(first.norm(dim=-1), torch.ones(2))


def test_sizes_follow_the_matching_rule() -> None:
    rows = {row["name"]: row for row in towers.facts()}
    assert rows["S, two: equal towers"]["one tower is, %"] == -45.0
    assert rows["S, two: half the depth each"]["one tower is, %"] == 0.0
    block = 12 * 256**2 + 4 * 256  # with two LayerNorms
    more = rows["S, two: equal towers"]["parameters"] - rows["S, one"]["parameters"]
    assert more == 8 * block + 2 * 256


# ---------------------------------------------------------------------------------- prefix


def test_the_decoder_says_step_by_step_what_it_says_at_once() -> None:
    model = built(lambda config: EncoderDecoder(config, 2, 3))
    with torch.no_grad():
        for parameter in model.parameters():  # fresh weights hardly look at anything
            parameter.mul_(4)
        image, tokens = pictures(2), torch.randint(0, 4096, (2, 8))
        keys, values, _ = model.see(image)
        at_once = model.logits(model.read(tokens, keys, values))  # [B,T,V]
        k, v, _ = model.encode_image(image)  # [L,B,H,P,K]
        k, v = (nn.functional.pad(x, (0, 0, 0, TINY.text_length)) for x in (k, v))
        for place in range(8):
            position = torch.full((2,), place)
            logits, k_new, v_new, seen = model.decode(tokens[:, place : place + 1], position, k, v)
            torch.testing.assert_close(logits, at_once[:, place], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(seen.sum(1), torch.ones(2))
            k[:, :, :, 196 + place], v[:, :, :, 196 + place] = k_new[:, :, :, 0], v_new[:, :, :, 0]
        other = model.logits(model.read(tokens, *model.see(pictures(2))[:2]))
        assert (other - at_once).abs().max() > 1e-2  # the picture matters


def test_packed_captions_do_not_see_each_other() -> None:
    model = built(lambda config: EncoderDecoder(config, 1, 1))
    keys, values, _ = model.see(pictures(1))
    tokens = torch.randint(0, 4096, (1, 6))
    segments, place = torch.tensor([[1, 1, 1, 2, 2, 2]]), torch.tensor([[0, 1, 2, 0, 1, 2]])
    packed = model.read(tokens, keys, values, segments, place)
    alone = model.read(tokens[:, 3:], keys, values)
    torch.testing.assert_close(packed[:, 3:], alone)


@pytest.mark.parametrize("layers", [6, 8, 12])
def test_equal_parameters_are_equal_but_for_norms(layers: int) -> None:
    config = replace(TINY, layers=layers)
    ours, theirs = built(Captioner, config), built(prefix.equal_parameters, config)

    def matrices(model: nn.Module) -> int:
        return sum(p.numel() for p in model.parameters() if p.ndim == 2)

    assert matrices(ours) == matrices(theirs)
    assert matrices(built(prefix.equal_depth, config)) - matrices(ours) == layers * 16 * 16**2


def test_operations_are_those_that_a_hand_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "WORDS", 5)
    config = replace(TINY, layers=2, text_length=48)
    D, P, C, L, V = config.width, config.patches, config.context, config.layers, config.vocabulary
    blocks = L * 12 * D**2
    picture = 2 * P * (768 * D + blocks) + L * 4 * P**2 * D + 2 * D * config.embedding
    step = 2 * (blocks + D * V) + L * 4 * C * D
    with torch.device("meta"):
        model = Captioner(config).eval()
        image = torch.zeros(1, 224, 224, 3, dtype=torch.uint8)
        cache = torch.zeros(L, 1, 2, C, D // 2)
        token, position = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        assert prefix.operations(lambda: model.encode_image(image)) == picture
        assert prefix.operations(lambda: model.decode(token, position, cache, cache)) == step
    counted = prefix.counts(Captioner, config)
    assert counted["parameters"] == towers.parameters(model)
    assert counted["GFLOP caption"] == round((picture + prefix.WORDS * step) / 1e9, 2)
    seen = picture - 2 * D * config.embedding
    assert prefix.uncached(config) > prefix.WORDS * seen


def test_times_are_of_all_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "WORDS", 2)
    rows = prefix.times(TINY, rounds=2)
    assert rows.keys() == prefix.BUILDS.keys() and rows["prefix-LM"]["× prefix-LM"] == 1
    assert all(0 < row["ms picture"] < row["ms caption"] for row in rows.values())


# ---------------------------------------------------------------------------------- locations


@pytest.mark.parametrize("grid", [14, 28, 32])
def test_cells_give_the_box_back_to_half_a_cell(grid: int) -> None:
    for i in range(40):
        for thing in drawing("val", i).scene.things:
            box = locations.from_cells(*locations.to_cells(thing.box, grid), grid)
            errors = [abs(a - b) for a, b in zip(box, thing.box, strict=True)]
            assert max(errors) <= 224 / grid / 2
    assert locations.to_cells((0, 0, 224, 224), grid) == (0, grid * grid - 1)


def test_two_tokens_say_the_same_as_four() -> None:
    run = ABLATIONS["locations"].arms[0].recipe(0, 400)
    edged, celled = SceneBatches(run), locations.CellBatches(run)
    boxes = 0
    for i in range(30):
        scene = drawing("val", i).scene
        # The same seed draws the same style and wording.
        four = edged._caption(scene, "en", np.random.default_rng(i)).ids
        two = celled._caption(scene, "en", np.random.default_rng(i)).ids
        read = locations.cells_to_edges(two)
        assert len(read) == len(four)
        for (words, edges), (same, near) in zip(
            locations.runs(four), locations.runs(read), strict=True
        ):
            assert words == same and len(edges) % 4 == 0
            # The nearest edge and the nearest centre of a cell of two edges' width.
            assert all(abs(a - b) <= 1 for a, b in zip(edges, near, strict=True))
            boxes += len(edges) // 4
        assert len(four) - len(two) == 2 * sum(len(e) // 4 for _, e in locations.runs(four))
    assert boxes > 30


def test_a_lone_cell_is_a_malformed_box() -> None:
    first, cell = FIRST_LOCATION_ID, locations.FIRST_CELL_ID
    assert locations.cells_to_edges([9, cell, 9]) == [9, first, 9]
    assert locations.cells_to_edges([cell]) == [first]
    pair = locations.cells_to_edges([cell, cell + 29, EOS_ID])
    assert pair == [first + 1, first + 1, first + 3, first + 3, EOS_ID]


def test_ceilings_rank_the_schemes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locations, "SCENES", 100)
    rows = {row["name"]: row["< 48 px"] for row in locations.facts()}
    assert rows["4 tokens of 57 edges"] > rows["2 tokens of 784 cells"] + 0.05
    assert rows["2 tokens of 784 cells"] > rows["2 tokens of 196 cells"]


# ---------------------------------------------------------------------------------- mentions


def test_dropout_changes_the_captions_and_not_the_pictures() -> None:
    dropout, whole = (arm.recipe(0, 64) for arm in ABLATIONS["mentions"].arms[:2])
    assert replace(whole, styles=STYLES) == dropout
    ours, theirs = SceneBatches(dropout, canvas=112)[1], SceneBatches(whole, canvas=112)[1]
    partial = torch.tensor([ID["<color>"], ID["<shape>"]])
    assert torch.isin(ours.tokens, partial).any() and not torch.isin(theirs.tokens, partial).any()
    assert torch.equal(ours.corners, torch.zeros_like(ours.corners))
    assert torch.equal(ours.images[0], theirs.images[0])
    half = ABLATIONS["mentions"].arms[2].recipe(0, 640)
    assert half.steps * 2 == ABLATIONS["mentions"].arms[0].recipe(0, 640).steps
    assert mentions.WHOLE_NAMES.styles.keys() == {"grounded", "plain"}


# ---------------------------------------------------------------------------------- trials


def test_a_trial_depends_on_its_seed_alone() -> None:
    threads = torch.get_num_threads()
    first, again, other = (trial.run(TINY_ARM, seed, 32, 4) for seed in (0, 0, 1))
    assert first["metrics"] == again["metrics"]
    assert first["metrics"]["loss"] != other["metrics"]["loss"]
    assert first["metrics"].keys() == {*KEYS, "loss", "pair_named"}
    assert first["images"] == 32 and first["parameters"] > 50_000
    assert torch.get_num_threads() == threads


def test_a_speaker_reads_two_token_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that only says one pair of cells is read as one box, again and again."""
    arm = ABLATIONS["locations"].arms[1]
    config = replace(arm.config, width=16, layers=1, embedding=8, text_length=8)
    speaker = trial.Speaker(built(Captioner, config), arm.as_edges)
    cells = [locations.FIRST_CELL_ID + c for c in (0, 29)]
    monkeypatch.setattr(trial, "generate", lambda *_: [type("Generated", (), {"tokens": cells})()])
    (said,) = speaker.caption([pictures(1)[0].numpy()], "en")
    assert said.raw == "<loc_01><loc_01><loc_03><loc_03>"


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
    facts_said="Counted.",
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


def test_a_report_has_tables_and_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_command_leaves_rows_table_and_picture(
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


def test_facts_are_of_a_processor_and_of_what_they_depend_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    def count() -> list[Row]:
        counted.append(1)
        return [{"name": "a", "count": len(counted)}]

    def gather(weights: str) -> int:
        ablation = replace(FAKE, facts=count, facts_of=lambda: weights)
        facts, _ = sweep.gather(ablation, Budget(0), Store(tmp_path, "fake"))
        return facts[0]["count"]

    assert (gather("x"), gather("x"), gather("y"), gather("x")) == (1, 1, 2, 1)
    monkeypatch.setattr(sweep, "cpu_model", lambda: "another")
    assert gather("x") == 3
    assert len(batches.timed_weights()) == 64


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
