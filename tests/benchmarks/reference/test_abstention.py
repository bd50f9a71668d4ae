"""What counts as no scene, and how far confidences are from what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from edgecap.benchmarks.reference.abstention import (
    calibration_error,
    caption_in_turns,
    measure,
    right_boxes,
)
from edgecap.benchmarks.reference.not_scenes import HELD_OUT, KINDS, SIDE, not_scenes
from edgecap.models.loading import load
from edgecap.reference.scenes.graph import Name, Scene, Thing
from edgecap.reference.shipped import calibration_for
from edgecap.reference.tokens import STYLES
from edgecap.runtime import Caption, Mention


@pytest.mark.parametrize("kind", [*KINDS, *HELD_OUT])
def test_images_that_are_no_scene_are_those_of_their_seed(kind: str) -> None:
    first, other = not_scenes(kind, 4, 1), not_scenes(kind, 4, 2)
    assert all(image.shape == (SIDE, SIDE, 3) and image.dtype == np.uint8 for image in first)
    assert all(np.array_equal(a, b) for a, b in zip(first, not_scenes(kind, 4, 1), strict=True))
    assert not np.array_equal(first[3], other[3])


def test_the_calibration_error_is_the_gap_between_promise_and_share() -> None:
    scenes = [(0.95, True)] * 19 + [(0.95, False)]
    assert calibration_error(scenes, [(0.0, False)]) == pytest.approx(0)
    assert calibration_error(scenes, [(0.9, False)]) == pytest.approx(abs(0.5 * 0 + 0.5 * 0.9))
    assert calibration_error([(0.5, True)], [(0.5, False)]) == pytest.approx(0)


class Polyglot:
    """Says which image it was shown, in which language."""

    languages = ("en", "de", "ja")

    def caption_many(self, images: list[int], lang: str, style: str) -> list[Caption]:
        return [Caption(str(i), "", lang, style, (), (), (), 0.0, True, 0) for i in images]


def test_languages_take_turns_from_one_set_of_images_to_the_next() -> None:
    spoken: list[str] = []
    for images in ([0, 1], [2, 3, 4, 5], [6]):
        found = caption_in_turns(Polyglot(), images, "plain", before=len(spoken))  # type: ignore[arg-type]
        assert [int(caption.text) for _, caption in found] == images
        spoken += [lang for lang, _ in found]
    assert spoken == ["en", "de", "ja", "en", "de", "ja", "en"]


def test_a_box_is_right_where_a_thing_of_its_name_is() -> None:
    scene = Scene((Thing(Name("dog"), (40.0, 40.0, 80.0, 80.0)),))
    raw = "A dog<loc_10><loc_10><loc_20><loc_20> and a cat<loc_10><loc_10><loc_20><loc_20>."
    boxes = [Mention(phrase, (0, 1), ((40.0, 40.0, 80.0, 80.0),), (0.9,)) for phrase in "ab"]
    caption = Caption("", raw, "en", "grounded", (boxes[0],), (), (), 0.0, True, 0)
    assert right_boxes(scene, caption, "en") in ([True], [False])
    assert right_boxes(None, caption, "en") == [False]


def test_the_shipped_calibration_is_of_the_shipped_weights_and_all_styles() -> None:
    from edgecap.core.digest import file_sha256
    from edgecap.reference.shipped import shipped

    calibration = calibration_for(file_sha256(shipped()["S"]))
    assert calibration is not None and set(calibration.captions) == set(STYLES)
    assert calibration_for("0" * 64) is None


def test_styles_without_boxes_hear_the_one_with_boxes() -> None:
    from edgecap.core.digest import file_sha256
    from edgecap.reference.shipped import shipped

    calibration = calibration_for(file_sha256(shipped()["S"]))
    assert calibration is not None
    seconds = {style: one.second for style, one in calibration.captions.items()}
    assert seconds.pop("grounded") is None
    assert {one.style for one in seconds.values() if one} == {"grounded"} and all(seconds.values())


@pytest.mark.full
def test_the_reference_declines_what_is_no_scene() -> None:
    captioner = load("S")
    assert captioner.calibration is not None
    styles = ["grounded", "plain"]
    for _, row in measure(captioner, captioner.calibration, styles, 40, 8, folders={}):
        assert row["kept"]["test"] >= 0.95  # one of 40 may fall below: 98 % are promised
        assert float(np.mean([row["declined"][kind] for kind in KINDS])) >= 0.95
        assert float(np.mean([row["declined"][kind] for kind in HELD_OUT])) >= 0.95
        assert set(row["languages"]) == set(captioner.languages)
