"""C and Python on one bundle and one engine: the same text, boxes, tokens, vectors and maps."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_edgecap import RUNNER, Library, Refused, Said, engine_library
from c_edgecap import Captioner as CCaptioner
from PIL import Image

from edgecap.runtime import load
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.captions import Caption
from edgecap.runtime.sampling import Sampling
from edgecap.runtime.tokenizer import SPACE

REQUESTS: list[tuple[dict[str, Any], dict[str, Any]]] = [  # of C, of Python
    ({}, {}),
    ({"language": "ja"}, {"lang": "ja"}),
    ({"boxes": 0}, {"grounded": False}),
    ({"style": "relate", "language": "de"}, {"style": "relate", "lang": "de"}),
    ({"rule": 0}, {"constrained": False}),
    ({"most_tokens": 1}, {"max_length": 1}),
    ({"most_tokens": 9}, {"max_length": 9}),
    ({"beams": 2}, {"beams": 2}),
    ({"beams": 5, "most_tokens": 12}, {"beams": 5, "max_length": 12}),
    ({"sample": 1, "seed": 3}, {"sampling": Sampling(seed=3)}),
    (
        {"sample": 1, "seed": 2**32 - 1, "temperature": 2.5, "top_k": 7, "top_p": 0.8},
        {"sampling": Sampling(2.5, 7, 0.8, 2**32 - 1)},
    ),
]


@pytest.fixture(scope="module", params=["tflite", "onnx"])
def both(
    request: pytest.FixtureRequest, library: Library, bundles: dict[str, Path]
) -> Iterator[tuple[CCaptioner, Captioner]]:
    bundle = bundles[request.param]
    ours = library.open(bundle, library=engine_library(request.param))
    yield ours, load(bundle)
    ours.close()


def image(seed: int, width: int = 90, height: int = 61) -> np.ndarray:
    """Blocks of colour, uint8 [h,w,3]: a tiny model sees little of noise."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST))


def assert_same(said: Said, expected: Caption) -> None:
    assert said.tokens == expected.tokens
    assert (said.text, said.raw) == (expected.text, expected.raw)
    assert said.mentions == tuple((m.phrase, m.boxes) for m in expected.mentions)
    assert (said.complete, said.malformed) == (expected.complete, expected.malformed)
    assert said.scores == pytest.approx(expected.scores, abs=2e-5)
    assert said.score == pytest.approx(expected.score, abs=2e-5)


@pytest.mark.parametrize(("asked", "of_python"), REQUESTS, ids=str)
def test_captions(
    both: tuple[CCaptioner, Captioner], asked: dict[str, Any], of_python: dict[str, Any]
) -> None:
    ours, python = both
    for seed in range(4):
        (expected,) = python.caption(image(seed), **of_python)
        assert_same(ours.describe(image(seed), **asked), expected)


def test_boxes_are_among_them(both: tuple[CCaptioner, Captioner]) -> None:
    """Or the tests above would not compare any."""
    ours, python = both
    drawn = [{"sample": 1, "seed": seed, "temperature": 20.0} for seed in range(40)]
    said = [ours.describe(image(1), **asked) for asked in drawn]
    assert any(boxes for one in said for _, boxes in one.mentions)
    for one, asked in zip(said, drawn, strict=True):
        (expected,) = python.caption(image(1), sampling=Sampling(20.0, seed=asked["seed"]))
        assert_same(one, expected)


def test_draws_of_several_images_are_those_of_one_call_in_python(
    both: tuple[CCaptioner, Captioner],
) -> None:
    ours, python = both
    expected = python.caption([image(seed) for seed in range(3)], sampling=Sampling(20.0, seed=4))
    for index, one in enumerate(expected):
        asked = {"sample": 1, "seed": 4, "temperature": 20.0, "index": index}
        assert_same(ours.describe(image(index), **asked), one)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (640, 480), (30, 90)], ids=str)
def test_sizes(both: tuple[CCaptioner, Captioner], size: tuple[int, int]) -> None:
    ours, python = both
    pixels = image(7, *size)
    assert_same(ours.describe(pixels), python.caption(pixels)[0])
    np.testing.assert_array_equal(ours.embed_image(pixels), python.embed_images(pixels)[0])


def test_formats_strides_and_orientation(both: tuple[CCaptioner, Captioner]) -> None:
    ours, python = both
    rgba = np.concatenate([image(3), image(4)[..., :1]], axis=2)  # [h,w,4]
    wide = np.zeros((rgba.shape[0], rgba.shape[1] + 9, 4), np.uint8)
    wide[:, : rgba.shape[1]] = rgba[..., [2, 1, 0, 3]]
    expected = python.caption(rgba)[0]
    assert_same(ours.describe(rgba, "rgba"), expected)
    assert_same(ours.describe(wide[:, : rgba.shape[1]], "bgra"), expected)
    turned = np.ascontiguousarray(np.rot90(image(3)))  # to be displayed a quarter turn to the right
    assert_same(ours.describe(turned, orientation=6), python.caption(image(3))[0])


def test_attention(both: tuple[CCaptioner, Captioner]) -> None:
    ours, python = both
    told = python.attention(image(5))
    said = ours.describe(image(5))
    for word in told.words:
        start, end = word.tokens
        mean = said.attention[start:end].mean(axis=0, dtype=np.float32)
        np.testing.assert_allclose(mean.reshape(word.map.shape), word.map, atol=1e-7)


@pytest.mark.parametrize("asked", [{}, {"sample": 1, "seed": 9, "temperature": 20.0}], ids=str)
def test_pieces(both: tuple[CCaptioner, Captioner], asked: dict[str, Any]) -> None:
    ours, python = both
    sampling = Sampling(20.0, seed=9) if asked else None
    pieces = list(python.stream(image(6), grounded=True, sampling=sampling))
    said = ours.describe(image(6), on_piece=lambda _: 0, **asked)
    assert list(said.pieces) == pieces
    assert "".join(pieces) == said.raw


def test_a_callback_may_stop_it(both: tuple[CCaptioner, Captioner]) -> None:
    ours, _ = both
    seen: list[str] = []
    whole = ours.describe(image(6), on_piece=lambda piece: seen.append(piece) or 0)
    assert len(seen) > 2
    with pytest.raises(Refused) as refused:
        ours.describe(image(6), on_piece=lambda piece: piece == seen[1])
    assert (refused.value.status, refused.value.code) == (7, "caption.stopped")
    assert ours.describe(image(6)).raw == whole.raw


@pytest.mark.parametrize(
    "text",
    [
        "a dog",
        "  a  dog ",
        "一只狗",
        "e\u0301le\u0301phant <eos>",
        "\u2003a\u3000",
        "\U0001f436",
        SPACE,
    ],
)
def test_texts(both: tuple[CCaptioner, Captioner], text: str) -> None:
    ours, python = both
    np.testing.assert_array_equal(ours.embed_text(text.encode()), python.embed_texts(text)[0])


def test_two_captioners_do_not_mix(library: Library, bundles: dict[str, Path]) -> None:
    one = library.open(bundles["tflite"], library=engine_library("tflite"))
    two = library.open(bundles["tflite"], library=engine_library("tflite"))
    alone = [one.describe(image(seed)).tokens for seed in (1, 2)]
    mixed = [one.describe(image(1)).tokens, two.describe(image(2)).tokens]
    assert mixed == alone
    one.close()
    assert two.describe(image(1)).tokens == alone[0]
    two.close()


@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_captioners_of_several_threads(
    format_: str, threads: Path, bundles: dict[str, Path]
) -> None:
    """Under the thread sanitizer: nothing of the core is shared."""
    run = subprocess.run(
        [threads, bundles[format_], engine_library(format_)],
        env={"TSAN_OPTIONS": f"suppressions={RUNNER / 'tsan.supp'}"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(set(run.stdout.splitlines())) == 1


def test_without_hashes_it_is_the_same(library: Library, bundles: dict[str, Path]) -> None:
    opened = [
        library.open(bundles["onnx"], library=engine_library("onnx"), verify=verify)
        for verify in (0, 1)
    ]
    assert len({captioner.describe(image(1)).tokens for captioner in opened}) == 1
    for captioner in opened:
        captioner.close()
