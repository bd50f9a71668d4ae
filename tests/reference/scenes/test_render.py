"""Drawn scenes: boxes are where the pixels are, and the same seed gives the same image."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from edgecap.core.errors import InputError
from edgecap.reference.scenes import font, sprites
from edgecap.reference.scenes.backgrounds import NOISE_LEVELS, NOISE_LIMIT
from edgecap.reference.scenes.graph import COLORS, SHAPES, Name
from edgecap.reference.scenes.nouns import NOUNS
from edgecap.reference.scenes.render import render
from edgecap.reference.scenes.sample import WINDOW_RULES, Drawing, Placed, sample_drawing
from edgecap.reference.scenes.splits import SPLITS, drawing

KINDS = [Name(noun) for noun in NOUNS] + [Name(s, c) for s in SHAPES for c in COLORS]


def drawn_pixels(thing: Placed, size: int = 224) -> np.ndarray:
    """bool [size, size]: where a thing changes a plain background."""
    alone = Drawing(size, (thing,), "plain", 3, 0, (0, 0))
    without = render(dataclasses.replace(alone, things=()))
    return (render(alone).astype(int) != without).any(axis=2)


@pytest.mark.parametrize("angle", sprites.ANGLES)
def test_boxes_are_tight_around_what_is_drawn(angle: int) -> None:
    for i, name in enumerate(KINDS):
        long_side = 24 + (37 * i) % 87
        ratio = sprites.aspect(name.noun, angle)
        width = round(long_side * min(ratio, 1))
        height = round(long_side / max(ratio, 1))
        rgb = sprites.RGB[name.color] if name.color else (0, 0, 0)
        thing = Placed(name, 57, 43, width, height, angle, rgb)
        rows, columns = np.nonzero(drawn_pixels(thing))
        seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        # Nothing lies outside the box, and no edge of it is empty by more than a faint pixel.
        inward = (seen - thing.box) * (1, 1, -1, -1)
        assert inward.min() >= 0, name
        assert inward.max() <= 1, name


@pytest.mark.parametrize("size", WINDOW_RULES)
def test_scenes_follow_the_rules(size: int) -> None:
    rules = WINDOW_RULES[size]
    rng = np.random.default_rng(5)
    repeated = 0
    for _ in range(1500):
        scene = sample_drawing(rng, rules).scene
        names = [thing.name for thing in scene.things]
        assert rules.things[0] <= len(names) <= rules.things[1]
        copies = sorted(names.count(name) for name in set(names))
        assert copies[:-1] == [1] * (len(copies) - 1)
        repeated += copies[-1] > 1
        for thing in scene.things:
            x0, y0, x1, y1 = thing.box
            assert 0 <= x0 < x1 <= size and 0 <= y0 < y1 <= size
            assert rules.px[0] <= max(x1 - x0, y1 - y0) <= rules.px[1]
    # Large repeated things are drawn again where they find no room, which costs a little.
    assert rules.repeat - 0.08 < repeated / 1500 < rules.repeat + 0.05


def test_overlap_stays_under_the_limit() -> None:
    rng = np.random.default_rng(6)
    rules = WINDOW_RULES[224]
    overlapping = 0
    for _ in range(800):
        things = sample_drawing(rng, rules).things
        for i, a in enumerate(things):
            for b in things[:i]:
                width = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
                height = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
                if width > 0 and height > 0:
                    smaller = min(a.width * a.height, b.width * b.height)
                    assert width * height <= rules.overlap * smaller
                    overlapping += 1
    assert overlapping > 50


@pytest.mark.parametrize("split", SPLITS)
def test_images_repeat_and_keep_clear_of_saturation(split: str) -> None:
    for index in range(40):
        drawn = drawing(split, index)
        pixels = render(drawn)
        assert pixels.shape == (224, 224, 3) and pixels.dtype == np.uint8
        assert np.array_equal(pixels, render(drawing(split, index)))
        # Noise is added modulo 256: without it, every level must be further from the ends.
        quiet = render(dataclasses.replace(drawn, noise=0))
        assert quiet.min() >= NOISE_LIMIT and quiet.max() <= 255 - NOISE_LIMIT
        assert np.abs(pixels.astype(int) - quiet).max() <= NOISE_LIMIT
        assert (drawn.noise > 0) == bool((pixels != quiet).any())


def test_noise_has_the_stated_strength() -> None:
    empty = Drawing(224, (), "plain", 1, 0, (10, 20))
    flat = render(empty).astype(int)
    for level, deviation in enumerate(NOISE_LEVELS):
        noisy = render(dataclasses.replace(empty, noise=level)).astype(int)
        # Rounding to whole levels adds up to a twelfth to the variance.
        assert (noisy - flat).std() == pytest.approx(deviation, abs=0.08)


def test_colours_can_be_told_apart() -> None:
    """No drawing of one colour is nearer to another colour's middle than to its own."""
    middles = np.array([sprites.RGB[color] for color in COLORS])
    rng = np.random.default_rng(2)
    seen = 0
    for _ in range(600):
        for thing in sample_drawing(rng, WINDOW_RULES[224]).things:
            if thing.name.color:
                distances = np.abs(middles - thing.rgb).sum(axis=1)
                assert COLORS[int(distances.argmin())] == thing.name.color
                seen += 1
    assert seen > 500


def test_missing_font_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sprites._font.cache_clear()
    monkeypatch.setattr(font, "FOLDERS", (tmp_path,))
    monkeypatch.setenv("PATH", str(tmp_path))  # no fc-match either
    with pytest.raises(InputError, match="apt-get install fonts-noto-color-emoji"):
        sprites._font()
    monkeypatch.undo()
    sprites._font()


def test_drawing_is_fast_enough_for_training() -> None:
    """1,500 scenes/s on one idle core; half of that here, for machines that are busy."""
    rng = np.random.default_rng(0)
    for noun in (*NOUNS, *SHAPES):
        for angle in sprites.ANGLES:
            sprites.aspect(noun, angle)
    rates = []
    for _ in range(3):
        began = time.process_time()
        for _ in range(150):
            render(sample_drawing(rng, WINDOW_RULES[224]))
        rates.append(150 / (time.process_time() - began))
    assert max(rates) > 750
