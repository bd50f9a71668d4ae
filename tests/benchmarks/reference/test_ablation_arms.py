"""The arms of an ablation differ in what they claim and in nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_ablations import ABLATIONS, TINY, TINY_ARM, Build, built, images
from torch import nn

from edgecap.benchmarks.reference.ablations import (
    NAMES,
    locations,
    mentions,
    positions,
    prefix,
    towers,
)
from edgecap.benchmarks.reference.ablations.encoder_decoder import EncoderDecoder
from edgecap.benchmarks.reference.ablations.experiment import STYLES
from edgecap.benchmarks.reference.evaluate import KEYS
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.scenes.splits import drawing
from edgecap.reference.tokens import EOS_ID, FIRST_LOCATION_ID, ID
from edgecap.reference.train.data import SceneBatches


def shared(a: nn.Module, b: nn.Module) -> set[str]:
    """Names of the weights that two models have alike."""
    ours, theirs = a.state_dict(), b.state_dict()
    return {n for n in ours if n in theirs and torch.equal(ours[n], theirs[n])}


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

    assert key("locations", 0) == key("positions", 0)
    assert TINY_ARM.key(0, 32, 8) != TINY_ARM.key(0, 64, 8) != TINY_ARM.key(0, 64, 9)


# ---------------------------------------------------------------------------------- positions


def test_positions_are_all_that_differs() -> None:
    two, one, none = (built(b) for b in (CaptionModel, positions.OneAxis, positions.Unplaced))
    apart = {"row", "column"}
    assert shared(two, one) == shared(two, none) == two.state_dict().keys() - apart
    assert one.state_dict().keys() - two.state_dict().keys() == {"position"}
    assert towers.parameters(one) - towers.parameters(two) == (196 - 28) * TINY.width
    assert towers.parameters(two) - towers.parameters(none) == 28 * TINY.width


@pytest.mark.parametrize("build", [CaptionModel, positions.OneAxis])
def test_a_window_has_the_positions_of_its_place(build: type[CaptionModel]) -> None:
    model = built(build)
    whole = model.position_embedding(14, None).view(14, 14, -1)  # [G,G,D]
    (window,) = model.position_embedding(7, torch.tensor([[3, 5]]))  # [g*g,D]
    torch.testing.assert_close(window, whole[3:10, 5:12].flatten(0, 1))


def test_2d_positions_share_rows_and_columns_and_1d_ones_do_not() -> None:
    for build, zero in ((CaptionModel, True), (positions.OneAxis, False)):
        place = built(build).position_embedding(14, None).view(14, 14, -1)  # [G,G,D]
        mixed = place[1:, 1:] - place[:-1, 1:] - place[1:, :-1] + place[:-1, :-1]
        assert (mixed.abs().max() < 1e-6) == zero


# ---------------------------------------------------------------------------------- towers


def test_two_towers_differ_in_what_reads_texts_alone() -> None:
    one, two = built(CaptionModel), built(towers.equal)
    tower = {n for n in two.state_dict() if n.startswith(("text_blocks.", "text_norm."))}
    assert shared(one, two) == one.state_dict().keys() - {"text_embedding.weight"}
    assert two.state_dict().keys() - one.state_dict().keys() == tower
    tokens = torch.randint(0, 4096, (2, 8))
    two.encode_text(tokens, torch.tensor([3, 8])).sum().backward()
    used = {name for name, p in two.named_parameters() if p.grad is not None and p.grad.any()}
    assert not {n for n in used if n.startswith("blocks.")}
    assert {n for n in used if n.startswith("text_blocks.")}


@pytest.mark.parametrize("build", [towers.equal, towers.narrow, towers.matched])
def test_a_text_tower_does_not_see_padding(build: Build) -> None:
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
        image, tokens = images(2), torch.randint(0, 4096, (2, 8))
        keys, values, _ = model.forward_image(image)
        at_once = model.logits(model.forward_text(tokens, keys, values))  # [B,T,V]
        k, v, _ = model.encode_image(image)  # [L,B,H,P,K]
        k, v = (nn.functional.pad(x, (0, 0, 0, TINY.text_length)) for x in (k, v))
        for place in range(8):
            position = torch.full((2,), place)
            logits, k_new, v_new, seen = model.decode(tokens[:, place : place + 1], position, k, v)
            torch.testing.assert_close(logits, at_once[:, place], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(seen.sum(1), torch.ones(2))
            k[:, :, :, 196 + place], v[:, :, :, 196 + place] = k_new[:, :, :, 0], v_new[:, :, :, 0]
        other = model.logits(model.forward_text(tokens, *model.forward_image(images(2))[:2]))
        assert (other - at_once).abs().max() > 1e-2  # the image matters


def test_packed_captions_do_not_see_each_other() -> None:
    model = built(lambda config: EncoderDecoder(config, 1, 1))
    keys, values, _ = model.forward_image(images(1))
    tokens = torch.randint(0, 4096, (1, 6))
    segments, place = torch.tensor([[1, 1, 1, 2, 2, 2]]), torch.tensor([[0, 1, 2, 0, 1, 2]])
    packed = model.forward_text(tokens, keys, values, segments, place)
    alone = model.forward_text(tokens[:, 3:], keys, values)
    torch.testing.assert_close(packed[:, 3:], alone)


@pytest.mark.parametrize("layers", [6, 8, 12])
def test_equal_parameters_are_equal_but_for_norms(layers: int) -> None:
    config = replace(TINY, layers=layers)
    ours, theirs = built(CaptionModel, config), built(prefix.equal_parameters, config)

    def matrices(model: nn.Module) -> int:
        return sum(p.numel() for p in model.parameters() if p.ndim == 2)

    assert matrices(ours) == matrices(theirs)
    assert matrices(built(prefix.equal_depth, config)) - matrices(ours) == layers * 16 * 16**2


def test_operations_are_those_that_a_hand_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "WORDS", 5)
    config = replace(TINY, layers=2, text_length=48)
    D, P, C, L, V = config.width, config.patches, config.context, config.layers, config.vocabulary
    blocks = L * 12 * D**2
    encoding = 2 * P * (768 * D + blocks) + L * 4 * P**2 * D + 2 * D * config.embedding
    step = 2 * (blocks + D * V) + L * 4 * C * D
    with torch.device("meta"):
        model = CaptionModel(config).eval()
        image = torch.zeros(1, 224, 224, 3, dtype=torch.uint8)
        cache = torch.zeros(L, 1, 2, C, D // 2)
        token, position = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        assert prefix.operations(lambda: model.encode_image(image)) == encoding
        assert prefix.operations(lambda: model.decode(token, position, cache, cache)) == step
    counted = prefix.counts(CaptionModel, config)
    assert counted["parameters"] == towers.parameters(model)
    assert counted["GFLOP caption"] == round((encoding + prefix.WORDS * step) / 1e9, 2)
    seen = encoding - 2 * D * config.embedding
    assert prefix.uncached(config) > prefix.WORDS * seen


def test_times_are_of_all_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "WORDS", 2)
    rows = prefix.times(TINY, rounds=2)
    assert rows.keys() == prefix.BUILDS.keys() and rows["prefix-LM"]["× prefix-LM"] == 1
    assert all(0 < row["ms image"] < row["ms caption"] for row in rows.values())


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


def test_dropout_changes_the_captions_and_not_the_images() -> None:
    dropout, whole = (arm.recipe(0, 64) for arm in ABLATIONS["mentions"].arms[:2])
    assert replace(whole, styles=STYLES) == dropout
    ours, theirs = (
        SceneBatches(dropout, model_input=112)[1],
        SceneBatches(whole, model_input=112)[1],
    )
    partial = torch.tensor([ID["<color>"], ID["<shape>"]])
    assert torch.isin(ours.tokens, partial).any() and not torch.isin(theirs.tokens, partial).any()
    assert torch.equal(ours.corners, torch.zeros_like(ours.corners))
    assert torch.equal(ours.images[0], theirs.images[0])
    half = ABLATIONS["mentions"].arms[2].recipe(0, 640)
    assert half.steps * 2 == ABLATIONS["mentions"].arms[0].recipe(0, 640).steps
    assert mentions.WHOLE_NAMES.styles.keys() == {"grounded", "plain"}
