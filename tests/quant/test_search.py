"""The search for a plan: its statistics, its prices, its order, its rule, and its evaluator."""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgecap.core.errors import GateError, InputError
from edgecap.quant.plan import Plan
from edgecap.quant.search import evaluator as judging
from edgecap.quant.search.candidates import Candidate, build_candidates, pick_candidates
from edgecap.quant.search.cost import costs
from edgecap.quant.search.evaluator import TaskEvaluator
from edgecap.quant.search.front import draw_front
from edgecap.quant.search.paired import drop
from edgecap.quant.search.search import Point, SearchResult, search
from edgecap.quant.search.sensitivity import wider, with_kinds
from edgecap.reference.quant import ReferenceSubject, layer_weights, simulate
from edgecap.reference.scenes.graph import Scene
from edgecap.reference.scenes.shipped import load_set
from edgecap.reference.tokens import LANGUAGES

# ------------------------------------------------------------------ statistics


def exact(lost: int, won: int, scenes: int = 128, together: bool = False) -> tuple[Any, Any]:
    """fp32's verdicts and a plan's, [N,8]: so many lost and won, in scenes of their own or not."""
    expected = np.ones((scenes, 8), bool)
    got = expected.copy()
    places = np.arange(scenes * 8).reshape(scenes, 8)
    order = places.ravel() if together else places.T.ravel()
    got.ravel()[order[:lost]] = False
    expected.ravel()[order[lost : lost + won]] = False
    return expected, got


def test_only_captions_that_differ_count() -> None:
    found = drop(*exact(10, 4))
    assert (found.lost, found.won, found.scenes, found.captions) == (10, 4, 128, 1024)
    assert found.points == pytest.approx(600 / 1024)
    assert found.low < found.points < found.high
    assert "+0.59 points" in str(found)
    mirrored = drop(*reversed(exact(10, 4)))
    assert mirrored.points == -found.points and mirrored.low == pytest.approx(-found.high)


def test_no_difference_is_not_certainty_and_more_scenes_are_more_sure() -> None:
    none = drop(*exact(0, 0))
    assert none.points == 0 and none.low < -0.1 and none.high > 0.1
    assert drop(*exact(0, 0, 512)).high < none.high
    assert drop(*exact(20, 20)).high > drop(*exact(2, 2)).high


def test_languages_of_one_scene_are_not_independent() -> None:
    apart, together = drop(*exact(16, 0)), drop(*exact(16, 0, together=True))
    assert apart.points == together.points
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    lost, won, covered = 0.03, 0.01, 0
    for _ in range(400):
        draws = rng.random((128, 8))
        expected = draws > won
        got = expected & (draws < 1 - lost) | (draws <= won)
        found = drop(expected, got)
        covered += found.low <= 100 * (lost - won) <= found.high
    assert 370 <= covered <= 396  # 380 expected


# ------------------------------------------------------------------ prices and order


def test_prices_follow_from_the_shapes(tiny: Any) -> None:
    price = costs(ReferenceSubject(tiny.model), tiny.calibration_set)
    weights = layer_weights(tiny.model)
    float_ = dict.fromkeys(weights, "fp32")
    whole = sum(p.numel() for p in tiny.model.parameters())
    assert price.size(float_) == 4 * whole and price.half == 2 * whole
    N, D = weights["patch"].shape
    int8 = float_ | {"patch": "w8a8"}
    assert price.size(float_) - price.size(int8) == 3 * N * D - 4 * N
    assert price.bit_operations(float_) - price.bit_operations(int8) == N * D * 196 * (1024 - 64)
    assert price.size(int8) == price.size(float_ | {"patch": "w8"})


def harms(plan: Plan, seed: int = 0) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(seed)
    found = {}
    for name, layer in plan.layers.items():
        kinds = (layer.kind, *wider(plan, name, layer.kind))
        values = sorted(rng.random(len(kinds) - 1).tolist(), reverse=True)
        found[name] = dict(zip(kinds, [*values, 0.0], strict=True))
    return found


def kinds_of(plan: Plan) -> dict[str, str]:
    return {name: layer.kind for name, layer in plan.layers.items()}


def test_the_ladder_climbs_from_cheapest_to_no_larger_than_fp16(tiny: Any) -> None:
    price = costs(ReferenceSubject(tiny.model), tiny.calibration_set)
    candidates = build_candidates(tiny.plan, harms(tiny.plan), price)
    assert candidates[0].kinds == kinds_of(tiny.plan)
    for a, b in zip(candidates, candidates[1:], strict=False):
        (changed,) = [name for name in a.kinds if a.kinds[name] != b.kinds[name]]
        assert b.kinds[changed] == wider(tiny.plan, changed, a.kinds[changed])[0]
        assert b.bit_operations > a.bit_operations and b.predicted <= a.predicted
    assert (
        candidates[-1].size <= price.half < price.size(dict.fromkeys(candidates[0].kinds, "fp32"))
    )
    assert "w8a8" not in candidates[-1].kinds.values() and "fp32" in candidates[-1].kinds.values()


def test_the_best_gain_for_its_price_comes_first(tiny: Any) -> None:
    sensitivity = {name: dict.fromkeys(kinds, 0.0) for name, kinds in harms(tiny.plan).items()}
    sensitivity["blocks.1.qkv"]["w8a8"] = 1e-3
    candidates = build_candidates(
        tiny.plan, sensitivity, costs(ReferenceSubject(tiny.model), tiny.calibration_set)
    )
    assert candidates[1].kinds["blocks.1.qkv"] == "w8"
    sensitivity["blocks.0.attention_out"]["w8a8"] = 1e-3  # the same gain in a smaller layer
    candidates = build_candidates(
        tiny.plan, sensitivity, costs(ReferenceSubject(tiny.model), tiny.calibration_set)
    )
    assert candidates[1].kinds["blocks.0.attention_out"] == "w8_dequant"


def test_candidates_keep_both_ends() -> None:
    candidates = [Candidate({}, 0.9**i, i, i) for i in range(40)]
    chosen = pick_candidates(candidates, 9)
    assert chosen[0] is candidates[0] and chosen[-1] is candidates[-1] and len(chosen) == 9
    assert pick_candidates(candidates[:1], 9) == candidates[:1]
    flat = [replace(candidate, predicted=0.0) for candidate in candidates]
    assert {flat[0].bit_operations, flat[-1].bit_operations} <= {
        candidate.bit_operations for candidate in pick_candidates(flat, 9)
    }


# ------------------------------------------------------------------ the search


@dataclass
class ByKind:
    """Loses captions by how many layers are narrow; `verdict` of that number, in captions lost."""

    lost: Callable[[int], int]
    calls: int = 0
    scores: np.ndarray = field(default_factory=lambda: np.ones((128, 8), bool))
    measure: str = "exact scenes"
    languages: tuple[str, ...] = LANGUAGES

    def score(self, plan: Any, label: str) -> np.ndarray:
        self.calls += 1
        kinds = [layer.kind for layer in plan.hook._plan.layers.values()]
        lost = np.zeros(self.scores.size, bool)
        lost[: self.lost(kinds.count("w8a8"))] = True
        return self.scores & ~lost.reshape(8, 128).T


def found(tiny: Any, evaluator: ByKind, max_drop: float) -> SearchResult:
    return search(
        ReferenceSubject(tiny.model), tiny.plan, tiny.calibration_set, lambda: evaluator, max_drop
    )


@pytest.fixture(scope="module")
def between(tiny: Any) -> SearchResult:
    """Three captions lost for each w8a8 layer, of 1024; at most one point."""
    return found(tiny, ByKind(lambda narrow: 3 * narrow), 1.0)


def test_the_cheapest_within_the_budget_is_taken(tiny: Any, between: SearchResult) -> None:
    narrow = kinds_of(between.chosen.plan).values()
    assert between.chosen.drop.points <= 1 < between.points[0].drop.points
    assert 0 < list(narrow).count("w8a8") <= 3
    assert between.chosen.plan.precision == "mixed"
    assert "mixed (" in between.chosen.name and "w8a8" in between.chosen.name
    cheaper = [p for p in between.points if p.candidate.size < between.chosen.candidate.size]
    assert all(point.drop.points > 1 for point in cheaper)
    assert 3 <= len(between.points) <= 6
    for point in between.points:
        kinds = kinds_of(point.plan)
        assert kinds == point.candidate.kinds
        assert all(
            bool(layer.functions) == (layer.kind == "w8a8") for layer in point.plan.layers.values()
        )
    divergences = [point.divergence for point in between.points]
    assert divergences[0] > divergences[-1] >= 0
    assert set(between.sensitivity) == set(tiny.plan.layers)
    assert all(value["w8a8"] > 0 for value in between.sensitivity.values() if "w8a8" in value)


def test_what_is_written_says_how_it_was_found(between: SearchResult, tmp_path: Path) -> None:
    data = json.loads(json.dumps(between.to_json()))
    assert data["points"][data["chosen"]]["drop"]["points"] == between.chosen.drop.points
    assert data["languages"] == list(LANGUAGES)
    assert "not measured" in data["latency"] and "budget" in data["rule"]
    assert len(data["ladder"]) == len(between.candidates)
    front = [data["points"][i] for i in data["front"]]
    assert [p["drop"]["points"] for p in front] == sorted(
        (p["drop"]["points"] for p in front), reverse=True
    )
    draw_front(between, tmp_path / "front.png")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


def test_a_wide_budget_takes_the_cheapest_at_once(tiny: Any) -> None:
    evaluator = ByKind(lambda narrow: 20 * narrow)
    got = found(tiny, evaluator, 100.0)
    assert got.chosen.plan == tiny.plan and got.chosen.name == "w8a8" and evaluator.calls == 2


def test_an_impossible_budget_fails_with_the_best_found(tiny: Any) -> None:
    with pytest.raises(GateError) as caught:
        found(tiny, ByKind(lambda narrow: 50 + 20 * narrow), 0.5)
    assert caught.value.code == "max_drop.impossible" and caught.value.exit_code == 1
    assert "within 0.5 points" in caught.value.message and "drop +4.88" in caught.value.message


def test_a_plan_is_widened_and_never_narrowed(tiny: Any) -> None:
    kinds = kinds_of(tiny.plan) | {"blocks.1.qkv": "w8", "token": "fp32"}
    plan = with_kinds(tiny.plan, kinds)
    assert kinds_of(plan) == kinds and plan.layers["blocks.1.qkv"].functions == {}
    assert plan.layers["blocks.0.qkv"] is tiny.plan.layers["blocks.0.qkv"]


# -------------------------------------------------------------- the evaluator


def by_its_words(scene: Scene, parsed: str) -> bool:
    """A verdict that any other token changes: what a model of random weights can be judged by."""
    return zlib.crc32(parsed.encode()) % 2 == 0


@pytest.fixture
def judged_by_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "is_exact", by_its_words)
    monkeypatch.setattr(judging, "_parsed", lambda raw, lang: raw)


def test_feeding_captions_tells_the_same_as_decoding_them(tiny: Any, judged_by_words: None) -> None:
    scenes = load_set("calibration", 5)
    evaluator = TaskEvaluator(tiny.model, scenes, ("en", "zh"))
    assert evaluator.scores.shape == (5, 2) and 0 < evaluator.scores.mean() < 1
    assert np.array_equal(evaluator.score(tiny.model, "itself"), evaluator.scores)
    other = copy.deepcopy(tiny.model)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in layer_weights(other).values():
            weight.add_(0.02 * weight.std() * torch.randn_like(weight))
    for plan in (other, simulate(other, tiny.plan)):
        expected = TaskEvaluator(plan, scenes, ("en", "zh"))
        same = [expected._captions[key] == caption for key, caption in evaluator._captions.items()]
        assert 0 < sum(same) < len(same)
        assert np.array_equal(evaluator.score(plan, "other"), expected.scores)


def test_equal_captions_are_not_decoded_again(
    tiny: Any, judged_by_words: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = TaskEvaluator(tiny.model, load_set("calibration", 4), ("en",))
    monkeypatch.setattr(judging, "generate", None)  # decoding would fail
    assert np.array_equal(evaluator.score(tiny.model, "itself"), evaluator.scores)


def test_a_model_that_names_nothing_has_nothing_to_lose(tiny: Any) -> None:
    with pytest.raises(InputError) as caught:
        TaskEvaluator(tiny.model, load_set("calibration", 2), ("en",))
    assert caught.value.code == "max_drop.nothing"


def test_points_are_told_in_one_line(between: SearchResult) -> None:
    point: Point = between.chosen
    assert "\n" not in str(point) and " MB" in str(point) and "95 %" in str(point)
