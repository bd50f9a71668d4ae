"""A captioner that knows everything gets everything; one that sees nothing gets nothing."""

import numpy as np
import pytest
from scripted import Blind, CaptionDataset, Perfect, gallery

from edgecap.benchmarks.reference.evaluate import FLOORED, KEYS, MEASURED, Report, evaluate
from edgecap.benchmarks.reference.similarity import COMPARED
from edgecap.core.errors import InputError
from edgecap.reference.tokens import LANGUAGES

SCENES = gallery()
FULL_MARKS = {
    "exact": 1,
    "name": 1,
    "grounding_50": 1,
    "grounding_75": 1,
    "miou_named": 1,
    "relation": 1,
    "count": 1,
    "withheld": 1,
    "chair_i": 0,
    "malformed": 0,
    "retrieval_r1_i2t": 1,
    "retrieval_r1_t2i": 1,
    "hard_negative": 1,
    "hard_pair": 1,
}


@pytest.fixture(scope="module")
def perfect() -> Report:
    return evaluate(Perfect(SCENES), SCENES, LANGUAGES, batch=5)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_truth_gets_full_marks_in_every_language(perfect: Report, lang: str) -> None:
    found = perfect.languages[lang]
    assert {key: found[key] for key in MEASURED} == pytest.approx(FULL_MARKS)


def test_the_report_holds_every_key_and_its_interval(perfect: Report) -> None:
    row = perfect.to_json()
    assert row["n"] == len(SCENES)
    assert set(row) >= set(KEYS)
    assert set(row["interval_95"]) == set(KEYS) - {"malformed"}
    assert row["interval_95"]["exact"] == [1.0, 1.0]
    assert set(row["languages"]) == set(LANGUAGES)


def test_one_that_sees_is_far_above_its_floors(perfect: Report) -> None:
    values = perfect.values
    for key in ("exact", "name", "grounding_50", "grounding_75", "relation", "count"):
        assert values[f"blind_{key}"] == 0, key  # of a grey image it says nothing
        assert 0 <= values[f"shuffled_{key}"] < 0.5, key
    assert values["blind_chair_i"] is None and values["shuffled_chair_i"] > 0.5
    assert values["shuffled_exact"] == 0
    assert 0 < values["blind_retrieval_r1_i2t"] < 0.5
    assert values["blind_retrieval_r1_i2t"] == pytest.approx(values["blind_retrieval_r1_t2i"])


def test_chance_is_what_random_embeddings_get() -> None:
    class Random(Perfect):
        def embed_images(self, images: list[np.ndarray]) -> np.ndarray:
            return rng.normal(size=(len(images), 64))

        embed_texts = embed_images  # type: ignore[assignment]

    rng = np.random.default_rng(0)
    scenes = SCENES * 40
    report = evaluate(Random(scenes), scenes, ("en",), only="embeddings")
    values = report.values
    assert 1 / 4 < values["blind_hard_negative"] < 1 / 2 == values["blind_hard_pair"]
    for floor in ("blind", "shuffled"):
        for key in ("hard_negative", "hard_pair"):
            assert values[key] == pytest.approx(values[f"{floor}_{key}"], abs=0.07), key


def test_a_part_is_measured_alone(perfect: Report) -> None:
    for part, silent in (("captions", "embed_images"), ("embeddings", "caption")):
        captioner = Perfect(SCENES)
        setattr(captioner, silent, None)  # a call would fail
        row = evaluate(captioner, SCENES, ("en",), only=part).to_json()
        for key in KEYS:
            of_embeddings = any(key.endswith(compared) for compared in COMPARED)
            if of_embeddings == (part == "embeddings"):
                assert row[key] == perfect.languages["en"][key], key
            else:
                assert row[key] is None is row["languages"]["en"][key], key
                assert row["interval_95"].get(key) is None
        assert row["worst_language"] == ("en" if part == "captions" else None)
    with pytest.raises(InputError, match="captions, embeddings"):
        evaluate(Perfect(SCENES), SCENES, ("en",), only="images")


def test_a_blind_captioner_is_found_out() -> None:
    report = evaluate(Blind(SCENES), SCENES, ("en", "ja"))
    values = report.values
    guessed = 1 / len(SCENES)  # it always says what scene 6 shows
    for key in ("exact", "blind_exact", "shuffled_exact", "retrieval_r1_i2t", "retrieval_r1_t2i"):
        assert values[key] == pytest.approx(guessed), key
    for key in FLOORED:
        assert values[key] == values[f"blind_{key}"], key
    assert values["hard_negative"] == values["hard_pair"] == 0
    assert values["chair_i"] > 0.6 and values["grounding_50"] < 0.3
    low, high = report.intervals["exact"] or (1, 0)
    assert low == 0 and guessed < high < 0.3


class Monolingual(Perfect):
    """Good at English; of anything else it leaves boxes unfinished and knows no texts."""

    def caption(self, images: list[np.ndarray], lang: str) -> list[CaptionDataset]:
        raw = super().caption(images, "en")
        return raw if lang == "en" else [CaptionDataset("Nada<loc_01><loc_02>.") for _ in raw]


def test_languages_are_averaged_and_the_worst_is_named() -> None:
    report = evaluate(Monolingual(SCENES), SCENES, ("en", "es"))
    assert report.worst_language == "es"
    assert report.values["exact"] == report.values["name"] == 0.5
    assert report.languages["es"]["chair_i"] == 1  # what no grammar knows is not there either
    assert report.values["chair_i"] == 0.5
    # One malformed box per Spanish caption, the grey image's not among them.
    assert report.values["malformed"] == len(SCENES)


def test_scenes_that_a_text_is_true_of_are_all_right_answers() -> None:
    twice = [*SCENES[:3], SCENES[0]]
    report = evaluate(Perfect(SCENES), twice, ("en",))
    assert report.values["retrieval_r1_i2t"] == report.values["retrieval_r1_t2i"] == 1


class Seduced(Perfect):
    """Embeds every text as that of scene 3: no truth beats its hard_negatives."""

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        return np.stack([self.plain(3, "en") for _ in texts])


def test_a_model_that_cannot_tell_twins_apart_gets_no_hard_negative() -> None:
    report = evaluate(Seduced(SCENES), SCENES, ("en",))
    assert report.values["hard_negative"] == 0
    assert report.values["hard_pair"] < 0.2  # scene 3's own text is the only one that differs
    assert report.values["retrieval_r1_t2i"] == pytest.approx(1 / len(SCENES))
    assert report.values["exact"] == 1


def test_held_out_phrasing_changes_the_texts_that_are_embedded() -> None:
    heard: list[str] = []

    class Listening(Perfect):
        def embed_texts(self, texts: list[str]) -> np.ndarray:
            heard.extend(texts)
            return super().embed_texts(texts)

    evaluate(Listening(SCENES), SCENES[:2], ("en",), held_out_phrasing=True)
    assert heard and all(text.startswith("Here we see ") for text in heard)


def test_one_scene_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="2 or more"):
        evaluate(Perfect(SCENES), SCENES[:1], ("en",))
