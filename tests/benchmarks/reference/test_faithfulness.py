"""The card, for a captioner of which it is known what each word rests on."""

import json

import numpy as np
import pytest
import spots
import torch
from spots import PATCH, SIZE, TOKENIZER, G

from edgecap.apps.explain import CaptionTrace, trace_caption
from edgecap.benchmarks.reference.clear_phrases import clear_phrases, near
from edgecap.benchmarks.reference.faithfulness import GAINS, KEYS, Row, _rank_correlation, card
from edgecap.cli.app import main
from edgecap.core.errors import InputError
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.model.session import TorchSession, reference_captioner
from edgecap.reference.scenes.graph import Name, Scene, Thing
from edgecap.reference.tokens import LOCATIONS

DOG, CAT = (3, 4), (10, 9)
Box = tuple[float, float, float, float]


def box_of(spot: tuple[int, int]) -> Box:
    y, x = (float(edge * PATCH) for edge in spot)
    return x, y, x + PATCH, y + PATCH


def raw(spot: tuple[int, int]) -> str:
    return "".join(LOCATIONS[int(edge) // 4] for edge in box_of(spot))


def script(*parts: tuple[str, tuple[int, int] | None]) -> list[tuple[int, tuple[int, int] | None]]:
    """Each part's words rest on its spot."""
    ids = [(TOKENIZER.encode(text, allow_special=True), spot) for text, spot in parts]
    return [(i, spot) for tokens, spot in ids for i in tokens]


SAID = [("A dog", DOG), (raw(DOG), None), ("and", None), ("a cat", CAT), (raw(CAT), None)]
THINGS = (Thing(Name("dog"), box_of(DOG)), Thing(Name("cat"), box_of(CAT)))
SCENE = (spots.model_input([DOG, CAT]), Scene(THINGS))


def on(*where: tuple[int, int]) -> object:
    """A maker that points at these spots in every token's map."""

    def make(trace: CaptionTrace) -> np.ndarray:
        maps = np.zeros((len(trace.tokens), G, G), np.float32)
        for y, x in where:
            maps[:, y, x] = 1
        return maps

    return make


def right(trace: CaptionTrace) -> np.ndarray:
    """Points at the dog while that is said, then at the cat."""
    maps = np.zeros((len(trace.tokens), G, G), np.float32)
    half = script(*SAID[:3])
    maps[: len(half), DOG[0], DOG[1]] = 1
    maps[len(half) :, CAT[0], CAT[1]] = 1
    return maps


@pytest.fixture(scope="module")
def rows() -> dict:
    captioner = spots.captioner(script(*SAID))
    makers = {"right": right, "wrong": on((0, 13)), "flat": on()}
    return {row.maps: row for row in card(captioner, [SCENE] * 3, makers, {"right": right})}


def test_phrases_are_found_with_their_tokens() -> None:
    captioner = spots.captioner(script(*SAID))
    trace = trace_caption(captioner, SCENE[0])
    found = list(clear_phrases(trace, SCENE[1], "en", captioner.tokenizer))
    texts = [TOKENIZER.decode(trace.tokens[one.start : one.end]).strip() for one in found]
    assert texts == ["A dog", "a cat"]
    assert [one.box for one in found] == [box_of(DOG), box_of(CAT)]


@pytest.mark.parametrize(
    ("things", "phrases"),
    [
        ([THINGS[0]], 1),  # the cat is not there
        ([*THINGS, Thing(Name("dog"), box_of((0, 0)))], 1),  # which dog?
        ([Thing(Name("owl"), box_of(DOG))], 0),
    ],
)
def test_what_is_not_clear_is_left_out(things: list[Thing], phrases: int) -> None:
    captioner = spots.captioner(script(*SAID))
    trace = trace_caption(captioner, SCENE[0])
    found = list(clear_phrases(trace, Scene(tuple(things)), "en", captioner.tokenizer))
    assert len(found) == phrases


def test_near_is_the_box_and_half_a_patch_beside() -> None:
    assert np.argwhere(near(box_of(DOG), SIZE, G)).tolist() == [
        [y, x] for y in (2, 3, 4) for x in (3, 4, 5)
    ]
    assert near((0.0, 0.0, 224.0, 224.0), SIZE, G).all()


def test_a_right_map_beats_chance_and_a_wrong_one_does_not(rows: dict) -> None:
    good, bad = rows["right"], rows["wrong"]
    assert (good.values["pointing"], bad.values["pointing"]) == (1, 0)
    assert good.values["pointing_chance"] == pytest.approx(9 / G**2)
    assert good.values["deletion"] < 0.2 < good.values["deletion_random"]
    assert good.values["insertion"] > 0.8 > good.values["insertion_random"]
    assert good.values["deletion_gain"] == pytest.approx(
        good.values["deletion_random"] - good.values["deletion"]
    )
    assert bad.intervals["pointing_gain"][0] < 0
    assert good.phrases == 6
    depends = "points at the object; shows what the word depends on"
    # Its twin here is itself.
    assert good.verdict == f"{depends}; stays similar with random weights"
    assert bad.verdict.startswith("points at the object no better than chance")


def test_maps_that_survive_random_weights_are_told(rows: dict) -> None:
    assert rows["right"].values["random_weights"] == pytest.approx(1)
    assert rows["wrong"].values["random_weights"] is None
    captioner = spots.captioner(script(*SAID))
    (row,) = card(captioner, [SCENE] * 2, {"right": right}, {"right": on()})
    assert row.values["random_weights"] == 0


def test_the_verdict_asks_for_both_curves_and_tells_what_random_weights_leave() -> None:
    def verdict(**least: float) -> str:
        bounds = {key: (-1.0, 1.0) for key in (*KEYS, *GAINS)}
        bounds |= {key: (value, value + 0.1) for key, value in least.items()}
        return Row("x", 1, {}, bounds).verdict

    both = {"deletion_gain": 0.1, "insertion_gain": 0.1}
    assert verdict(**both).endswith("; shows what the word depends on")
    for alone in both:
        assert verdict(**{alone: 0.1}).endswith("depends on, no better than chance")
    assert verdict(**both, random_weights=0.6).endswith("; stays similar with random weights")
    assert "random" not in verdict(**both, random_weights=0.45)


def test_scenes_without_a_clear_phrase_are_refused() -> None:
    captioner = spots.captioner(script(("Nothing.", None)))
    with pytest.raises(InputError, match=r"faithfulness\.nothing"):
        card(captioner, [SCENE] * 2, {"right": right})


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--maps", "layers"], "maps.unknown"),
        (["--maps", "gradient"], "explain.torch_only"),
        (["--json", "no/such/place/x.json"], "output.unwritable"),
        (["--n", "1"], "usage"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    options: list[str], code: str, tiny_bundle_made, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["faithfulness", str(tiny_bundle_made), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert f"[{code}]" in captured.err


def test_the_command_gives_a_table_and_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    captioner = spots.captioner(script(*SAID))
    monkeypatch.setattr("edgecap.models.loading.load", lambda model, threads: captioner)
    monkeypatch.setattr("edgecap.reference.scenes.shipped.load_set", lambda name, n: [SCENE] * n)
    assert main(["faithfulness", "spots", "--n", "2", "--json", "-"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["maps"]
    assert (row["maps"], row["phrases"]) == ("attention", 4)
    assert set(KEYS) < set(row["values"]) == set(row["intervals"])
    assert main(["faithfulness", "spots", "--n", "2"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "pointing_chance" in shown and f"attention: {row['verdict']}." in shown


def test_random_weights_give_other_maps_of_the_same_words() -> None:
    from edgecap.cli._maps import maker
    from edgecap.cli.faithfulness import _randomised

    torch.manual_seed(0)
    config = CaptionerConfig(width=32, layers=2, heads=2, embedding=16)
    network = CaptionModel(config)
    with torch.no_grad():
        for weight in (p for p in network.parameters() if p.ndim == 2):
            weight.mul_(12)
    like = spots.captioner([])
    captioner = reference_captioner(TorchSession(network))
    trace = trace_caption(captioner, SCENE[0], max_length=6)
    fresh = _randomised(captioner, ["attention", "gradient", "occlusion"])
    assert set(fresh) == {"attention", "gradient"}
    for kind, make in fresh.items():
        own, other = maker(kind, captioner)(trace), make(trace)
        assert own.shape == other.shape == (len(trace.tokens), G, G)
        assert not np.allclose(own, other, atol=1e-3)
    assert _randomised(like, ["attention"]) == {}


def test_equal_values_share_a_rank() -> None:
    first, last = np.zeros((14, 14)), np.zeros((14, 14))
    first[0, 0] = last[-1, -1] = 1
    assert _rank_correlation(first, last) == pytest.approx(-1 / 195)
    assert _rank_correlation(first, first) == pytest.approx(1)
