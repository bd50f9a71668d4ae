"""Drawing tokens: what is kept, with which chances, and the same again."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tiny_onnx import image

from edgecap.core.errors import InputError, UnsupportedError
from edgecap.models.loading import load
from edgecap.runtime import Sampling
from edgecap.runtime.sampling import draw, probabilities, uniform

SCORES = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=50).map(
    lambda values: np.array(values, np.float32)
)


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores.astype(np.float64) - scores.max())
    return weights / weights.sum()


@given(scores=SCORES, k=st.integers(1, 60))
@example(scores=np.array([-1e-33, 0], np.float32), k=1)  # of one weight, not of one score
def test_top_k_keeps_the_k_most_probable(scores: np.ndarray, k: int) -> None:
    kept = probabilities(scores, Sampling(top_k=k))
    there = np.flatnonzero(kept)
    assert len(there) == min(k, len(scores))
    left_out = np.setdiff1d(np.arange(len(scores)), there)
    assert kept.sum() == pytest.approx(1)
    if len(left_out):
        assert scores[there].min() >= scores[left_out].max()
    # What is kept keeps its proportions.
    full = softmax(scores)
    np.testing.assert_allclose(kept[there], full[there] / full[there].sum(), rtol=1e-6)


@given(scores=SCORES, p=st.floats(0.01, 1))
def test_top_p_keeps_the_fewest_that_reach_p(scores: np.ndarray, p: float) -> None:
    full = softmax(scores)
    there = np.flatnonzero(probabilities(scores, Sampling(top_p=p)))
    mass = np.sort(full[there])
    assert mass.sum() >= p - 1e-9
    assert mass.sum() - mass[0] < p + 1e-9  # without the least of them it is not reached
    left_out = np.setdiff1d(np.arange(len(scores)), there)
    assert not len(left_out) or scores[there].min() >= scores[left_out].max()


@given(scores=SCORES, temperature=st.floats(0.1, 10))
def test_temperature_divides_the_scores(scores: np.ndarray, temperature: float) -> None:
    kept = probabilities(scores, Sampling(temperature=temperature))
    np.testing.assert_allclose(
        kept, softmax(scores.astype(np.float64) / temperature), rtol=1e-6, atol=1e-12
    )


@given(scores=SCORES, u=st.floats(0, 1, exclude_max=True))
def test_what_is_forbidden_is_never_drawn(scores: np.ndarray, u: float) -> None:
    scores = np.append(scores, np.float32(1))
    scores[: len(scores) // 2] = -np.inf
    assert draw(probabilities(scores, Sampling(temperature=100)), u) >= len(scores) // 2


def test_drawing_follows_the_chances() -> None:
    chances = np.array([0.2, 0, 0.5, 0.3])
    counts = np.bincount([draw(chances, uniform(1, n)) for n in range(4000)], minlength=4) / 4000
    np.testing.assert_allclose(counts, chances, atol=0.03)
    assert counts[1] == 0
    assert [draw(chances, u) for u in (0.0, 0.1999, 0.2, 0.6999, 0.7, 1 - 2**-53)] == [
        0, 0, 2, 2, 3, 3,
    ]  # fmt: skip


def test_the_stream_is_that_of_splitmix64() -> None:
    # First outputs of the published generator for the state 1234567.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [uniform(1234567, n) for n in range(3)] == [(v >> 11) / 2**53 for v in published]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"temperature": 0.0}, "sampling.temperature"),
        ({"temperature": math.nan}, "sampling.temperature"),
        ({"temperature": math.inf}, "sampling.temperature"),
        ({"top_k": 0}, "sampling.top_k"),
        ({"top_p": 0.0}, "sampling.top_p"),
        ({"top_p": 1.5}, "sampling.top_p"),
        ({"seed": -1}, "sampling.seed"),
        ({"seed": 1 << 32}, "sampling.seed"),
        ({"index": -1}, "sampling.index"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(options: dict, code: str) -> None:
    with pytest.raises(InputError) as caught:
        Sampling(**options)
    assert caught.value.code == code


IMAGES = [image(seed, 40 + 9 * seed, 60) for seed in range(5)]


def test_an_images_draws_depend_on_its_index_and_not_on_the_batch(tiny_bundle_made) -> None:
    captioner = load(tiny_bundle_made)
    how = {"temperature": 1.5, "top_k": 50, "seed": 7}
    one_batch = captioner.caption(IMAGES, max_length=10, sampling=Sampling(**how))
    tokens = [c.tokens for c in one_batch]
    batches = captioner.caption_many(IMAGES, max_length=10, sampling=Sampling(**how), batch=2)
    assert [c.tokens for c in batches] == tokens
    assert tokens == [
        captioner.caption(p, max_length=10, sampling=Sampling(**how, index=i))[0].tokens
        for i, p in enumerate(IMAGES)
    ]


def test_an_image_that_cannot_be_read_keeps_its_index(tiny_bundle_made) -> None:
    captioner, sampling = load(tiny_bundle_made), Sampling(temperature=1.5, seed=7)
    images = [IMAGES[0], b"no image", IMAGES[2]]
    skipped = list(captioner.caption_many(images, sampling=sampling, on_error="skip"))
    whole = captioner.caption(IMAGES[:3], sampling=sampling)
    assert [skipped[0], skipped[2]] == [whole[0], whole[2]]


def test_equal_images_of_one_call_draw_different_words(tiny_bundle_made) -> None:
    captioner, sampling = load(tiny_bundle_made), Sampling(temperature=1.5, seed=7)
    drawn = captioner.caption([IMAGES[0]] * 4, max_length=10, sampling=sampling)
    assert len({c.tokens for c in drawn}) > 1


def test_another_seed_says_something_else_and_top_1_is_greedy(tiny_bundle_made) -> None:
    captioner = load(tiny_bundle_made)

    def said(**options: float) -> list[tuple[int, ...]]:
        sampling = Sampling(**options)  # type: ignore[arg-type]
        return [c.tokens for c in captioner.caption(IMAGES, max_length=10, sampling=sampling)]

    assert said(seed=1) != said(seed=2)
    assert said(top_k=1, seed=3) == [c.tokens for c in captioner.caption(IMAGES, max_length=10)]


def test_drawn_captions_keep_the_rule_of_boxes(tiny_bundle_made) -> None:
    captioner = load(tiny_bundle_made)
    sampling = [Sampling(temperature=50, seed=seed) for seed in range(4)]
    captions = [c for one in sampling for c in captioner.caption(IMAGES, sampling=one)]
    assert sum(c.malformed for c in captions) == 0
    assert any(c.mentions for c in captions)


def test_a_drawn_stream_adds_up_to_the_caption(tiny_bundle_made) -> None:
    captioner, sampling = load(tiny_bundle_made), Sampling(seed=5)
    options = {"grounded": False, "max_length": 12, "sampling": sampling}
    pieces = list(captioner.stream(IMAGES[0], **options))
    assert "".join(pieces) == captioner.caption(IMAGES[0], **options)[0].raw


def test_scores_are_the_models_own_not_the_drawings(tiny_bundle_made) -> None:
    captioner = load(tiny_bundle_made)
    flat = captioner.caption(IMAGES[0], max_length=1, sampling=Sampling(temperature=100, top_k=1))
    greedy = captioner.caption(IMAGES[0], max_length=1)
    assert flat[0].scores == greedy[0].scores


def test_beams_are_not_drawn(tiny_bundle_made) -> None:
    with pytest.raises(UnsupportedError, match=r"caption\.beams_sampled"):
        load(tiny_bundle_made).caption(["no such image"], beams=2, sampling=Sampling())
