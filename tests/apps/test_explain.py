"""Maps of words: occlusion finds causes, pages and sheets hold what they were given."""

import base64
import html.parser
import json
import os
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import spots
from PIL import Image
from spots import PATCH, SIZE, TOKENIZER, G
from tiny_onnx import image

from edgecap.apps.explain import (
    KINDS,
    CaptionTrace,
    Maps,
    attention,
    layers,
    occlusion,
    per_word,
    table,
    trace_caption,
)
from edgecap.apps.explain.heat import heat, levels
from edgecap.apps.explain.occlusion import forced_scores, hide
from edgecap.apps.explain.page import page
from edgecap.apps.explain.sheet import COLUMNS, GAP, TILE, sheet
from edgecap.cli.app import main
from edgecap.models.loading import load
from edgecap.runtime import Captioner
from edgecap.runtime.preprocess import letterbox
from edgecap.runtime.text.from_tokenizer import codec_of
from edgecap.runtime.words import word_maps

A, B = TOKENIZER.encode("dog")[0], TOKENIZER.encode("cat")[0]
SPOTS = [(3, 4), (10, 9)]


def two_spots() -> Captioner:
    """Says A as surely as the first spot is red, then B as surely as the second is."""
    return spots.captioner([(A, SPOTS[0]), (B, SPOTS[1])])


def spotted() -> np.ndarray:
    return spots.model_input(SPOTS)


def test_occlusion_finds_what_each_word_rests_on() -> None:
    captioner = two_spots()
    trace = trace_caption(captioner, spotted())
    assert trace.tokens == (A, B)
    drops = occlusion(captioner, trace, window=1)  # [2,G,G]
    for token, (y, x) in enumerate(SPOTS):
        assert np.unravel_index(drops[token].argmax(), (G, G)) == (y, x)
        others = np.delete(drops[token].ravel(), y * G + x)
        assert drops[token, y, x] > 5
        np.testing.assert_allclose(others, 0, atol=1e-5)


@pytest.mark.parametrize("window", [2, 3, 14])
def test_a_window_covers_all_its_patches(window: int) -> None:
    captioner = two_spots()
    drops = occlusion(captioner, trace_caption(captioner, spotted()), window=window)
    y, x = (edge // window * window for edge in SPOTS[0])
    block = drops[0, y : y + window, x : x + window]
    assert (block == block[0, 0]).all() and block[0, 0] > 1


def test_padding_is_not_hidden() -> None:
    captioner = two_spots()
    wide = np.zeros((40, 400, 3), np.uint8)
    wide[..., 0] = 200
    trace = trace_caption(captioner, wide, max_length=2)
    drops = occlusion(captioner, trace)
    place_ = trace.attention.placement
    top = place_.top // PATCH // 2 * 2
    assert drops.shape[0] == len(trace.tokens)
    assert not drops[:, :top].any()


def test_hiding_takes_the_colour_around() -> None:
    model_input = np.full((SIZE, SIZE, 3), 90, np.uint8)
    model_input[32:64, 32:64] = 255
    bare = hide(model_input, (slice(2, 4), slice(2, 4)), PATCH)
    assert (bare == 90).all() and (model_input[32:64, 32:64] == 255).all()
    corner = hide(model_input, (slice(0, 2), slice(12, 14)), PATCH)
    assert (corner == model_input).all()


def test_forced_scores_are_those_of_the_caption(tiny_bundle_made: Path) -> None:
    captioner = load(tiny_bundle_made)
    trace = trace_caption(captioner, image(0, 50, 40), max_length=9)
    assert len(trace.tokens) > 2
    (scores,) = forced_scores(captioner, [trace.model_input], trace.prompt, trace.tokens)
    np.testing.assert_allclose(scores, trace.attention.caption.scores, atol=1e-5)


def test_words_are_the_mean_of_their_tokens(tiny_bundle_made: Path) -> None:
    captioner = load(tiny_bundle_made)
    trace = trace_caption(captioner, image(1, 50, 40), max_length=12)
    tokens = np.random.default_rng(0).random((len(trace.tokens), G, G), np.float32)
    words = per_word(trace, tokens)
    for word, map_ in zip(trace.attention.words, words, strict=True):
        np.testing.assert_allclose(map_, tokens[slice(*word.tokens)].mean(0), rtol=1e-5)
    expected = np.stack([word.map for word in trace.attention.words])
    np.testing.assert_allclose(per_word(trace, attention(trace)), expected, rtol=1e-5)


def test_levels_are_by_each_maps_own_maximum() -> None:
    maps = np.array([[[0, 2], [4, -3]], [[0, 0], [0, 0]], [[0.1, 0], [0, 0]]], np.float32)
    assert levels(maps).tolist() == [[[0, 128], [255, 0]], [[0, 0], [0, 0]], [[255, 0], [0, 0]]]


def test_heat_lies_where_the_map_is() -> None:
    grey = Image.new("RGB", (300, 150), (100, 100, 100))
    placement = letterbox(300, 150, SIZE)  # padding above and below
    level = np.zeros((G, G), np.uint8)
    level[4, 1] = 255  # patch rows 3.5 … 10.5 hold the image
    drawn = np.asarray(heat(grey, level, placement, SIZE)).astype(int)
    changed = np.abs(drawn - 100).sum(-1)
    y, x = np.unravel_index(changed.argmax(), changed.shape)
    assert abs(y - (4.5 * PATCH - placement.top) * 150 / placement.scaled_height) < 8
    assert abs(x - 1.5 * PATCH * 300 / placement.scaled_width) < 8
    assert not changed[100:, 150:].any()


class Reader(html.parser.HTMLParser):
    """What a page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.script = ""
        self.inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self.inside == "data":
            self.script += data

    def handle_endtag(self, tag: str) -> None:
        self.inside = None


def trace_of(bundle: Path) -> tuple[bytes, CaptionTrace]:
    shown = image(0, 60, 40)
    return shown, trace_caption(load(bundle), shown, max_length=14)


def test_a_page_holds_its_words_and_maps_and_asks_for_nothing(tiny_bundle_made: Path) -> None:
    shown, trace = trace_of(tiny_bundle_made)
    words = per_word(trace, attention(trace))
    maps = [Maps("attention", words), Maps("layers", words[:, ::-1], 0, 1)]
    text = page(shown, trace, maps, "a < b", {"model": "tiny"})
    read = Reader(text)
    data = json.loads(read.script)
    assert [word["text"] for word in data["words"]] == [w.text for w in trace.attention.words]
    assert len(data["words"]) > 1
    for given, found in zip(maps, data["maps"], strict=True):
        values = np.frombuffer(base64.b64decode(found["values"]), np.uint8).reshape(-1, G, G)
        np.testing.assert_array_equal(values, levels(given.words))
        assert found["note"] == KINDS[given.kind]
    assert "Not an explanation" in data["maps"][0]["note"]
    assert (data["width"], data["height"]) == (60, 40)
    links = [v for _, attrs in read.tags for n, v in attrs.items() if n in ("src", "href")]
    assert len(links) == 1 and str(links[0]).startswith("data:image/png;base64,")
    assert "<title>a &lt; b</title>" in text
    for outside in ("http://", "https://", "@import", "fetch(", "url("):
        assert outside not in text


def test_a_page_takes_words_as_text_not_as_markup(tiny_bundle_made: Path) -> None:
    shown, trace = trace_of(tiny_bundle_made)
    evil = "</script><script>alert(1)</script>{{DATA}}<!--"
    words = tuple(replace(word, text=evil) for word in trace.attention.words)
    caption = replace(trace.attention.caption, lang='"><script>')
    trace = replace(trace, attention=replace(trace.attention, words=words, caption=caption))
    text = page(
        shown, trace, [Maps("attention", per_word(trace, attention(trace)))], evil, {"m": evil}
    )
    read = Reader(text)
    assert [tag for tag, _ in read.tags].count("script") == 2
    assert json.loads(read.script)["words"][0]["text"] == evil


def test_a_sheet_has_a_tile_for_every_word(tiny_bundle_made: Path) -> None:
    shown, trace = trace_of(tiny_bundle_made)
    drawn = sheet(shown, trace, Maps("attention", per_word(trace, attention(trace))))
    tiles = 1 + len(trace.attention.words)
    assert drawn.width == GAP + max(3, min(COLUMNS, tiles)) * (TILE + GAP)
    rows = -(-tiles // COLUMNS)
    assert drawn.height > rows * round(TILE * 40 / 60)


@pytest.mark.parametrize("size", [(1, 1), (400, 2), (3, 90)])
def test_odd_images_can_be_explained(size: tuple[int, int], tiny_bundle_made: Path) -> None:
    captioner, shown = load(tiny_bundle_made), image(0, *size)
    trace = trace_caption(captioner, shown, max_length=5)
    maps = Maps("attention", per_word(trace, attention(trace)))
    assert sheet(shown, trace, maps).width > 0
    assert page(shown, trace, [maps], "", {})


def test_a_caption_without_words(tiny_bundle_made: Path) -> None:
    assert word_maps([], codec_of(TOKENIZER), None) == ()
    shown, trace = trace_of(tiny_bundle_made)
    empty = replace(trace.attention.caption, tokens=(), scores=(), text="", mentions=())
    trace = replace(trace, attention=replace(trace.attention, caption=empty, words=()))
    maps = Maps("attention", per_word(trace, attention(trace)))
    assert occlusion(load(tiny_bundle_made), trace).shape == (0, G, G)
    assert sheet(shown, trace, maps).width > 0
    assert json.loads(Reader(page(shown, trace, [maps], "", {})).script)["words"] == []


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(image(0, 60, 40))
    return path


def test_the_command_writes_pages_and_sheets(
    photo: Path, tmp_path: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explain = ["explain", str(photo), "--bundle", str(tiny_bundle_made), "-o"]
    assert main([*explain, str(tmp_path / "a.png")]) == 0
    assert capsys.readouterr().out.strip() == load(tiny_bundle_made).caption(photo)[0].text
    with Image.open(tmp_path / "a.png") as drawn:
        assert drawn.width > 3 * TILE
    assert main([*explain, str(tmp_path / "a.html"), "--maps", "attention"]) == 0
    data = json.loads(Reader((tmp_path / "a.html").read_text()).script)
    assert [one["kind"] for one in data["maps"]] == ["attention"]


def test_a_page_of_a_image_whose_name_is_not_unicode(
    photo: Path, tmp_path: Path, tiny_bundle_made: Path
) -> None:
    odd = photo.rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    out = tmp_path / "a.html"
    assert main(["explain", str(odd), "--bundle", str(tiny_bundle_made), "-o", str(out)]) == 0
    assert "<title>caf\N{REPLACEMENT CHARACTER}.png</title>" in out.read_text("utf-8")


def test_the_command_shows_every_head_of_a_word(
    photo: Path, tmp_path: Path, tiny_attention_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = trace_caption(load(tiny_attention_bundle), photo)
    word = next(w.text.strip(".,") for w in trace.attention.words if w.text.strip(".,").isalnum())
    explain = ["explain", str(photo), "--bundle", str(tiny_attention_bundle), "--maps", "layers"]
    assert main([*explain, "-o", str(tmp_path / "a.png"), "--word", word.upper()]) == 0
    with Image.open(tmp_path / "a.png") as drawn:
        assert drawn.height > 100 and drawn.width >= 3 * table.TILE
    assert main([*explain, "-o", str(tmp_path / "a.html"), "--word", word]) == 0
    data = json.loads(Reader((tmp_path / "a.html").read_text()).script)
    assert [(one["layer"], one["head"]) for one in data["maps"]] == [(0, 0)]  # all it has
    assert data["words"][data["first"]]["text"].strip(".,") == word
    capsys.readouterr()
    assert main([*explain, "-o", str(tmp_path / "b.png"), "--word", "no such word"]) == 2
    error = capsys.readouterr().err
    assert "[explain.word]" in error and word in error
    assert not (tmp_path / "b.png").exists()


def test_heads_are_those_of_the_steps_that_chose_the_words(tiny_attention_bundle: Path) -> None:
    captioner = load(tiny_attention_bundle)
    trace = trace_caption(captioner, image(0, 50, 40), max_length=9)
    found = layers(captioner, trace)
    assert found.shape == (1, 1, len(trace.tokens), G, G)  # one layer of one head: their mean
    np.testing.assert_allclose(
        per_word(trace, found[0, 0]), per_word(trace, attention(trace)), rtol=1e-5
    )


def test_a_table_shows_a_map_for_each_head(tiny_bundle_made: Path) -> None:
    """Layers down, heads across: a map that alone has a peak changes its own tile and the mean."""
    shown, trace = trace_of(tiny_bundle_made)

    def drawn(peaked: tuple[int, int] | None) -> np.ndarray:
        maps = []
        for layer, head in product(range(2), range(3)):
            words = np.full((len(trace.attention.words), G, G), 0.001, np.float32)
            words[:, 7, 7] = 1 if (layer, head) == peaked else 0.001
            maps.append(Maps("layers", words, layer, head))
        return np.asarray(table.table(shown, trace, maps, 0)).astype(int)

    changed = np.abs(drawn((1, 2)) - drawn(None)).sum(-1).astype(bool)  # [h,w]
    columns = np.flatnonzero(changed.any(0))
    assert columns.min() >= table.LABEL + 2 * (table.TILE + table.GAP)  # heads 1, 2 are as before
    rows = np.flatnonzero(changed.any(1))
    assert rows.max() - rows.min() < round(table.TILE * 40 / 60) + table.SMALL + table.GAP


@pytest.mark.parametrize(
    ("out", "options", "code"),
    [
        ("a.gif", [], "explain.format"),
        ("a", [], "explain.format"),
        ("no/such/place/a.html", [], "output.unwritable"),
        ("no/such/place/a.png", [], "output.unwritable"),
        ("photo.png", [], "draw.overwrites"),
        ("a.png", ["--maps", "attention,occlusion"], "explain.one_kind"),
        ("a.png", ["--maps", "attention", "--word", "x"], "explain.every_word"),
        ("a.html", ["--maps", "saliency"], "maps.unknown"),
        ("a.html", ["--maps", "layers"], "attention.missing"),
        ("a.png", ["--maps", "layers"], "attention.missing"),
        ("a.html", ["--maps", "attention,gradient"], "explain.torch_only"),
        ("a.html", ["--lang", "xx"], "language.unknown"),
        ("a.html", ["--style", "xx"], "style.unknown"),
    ],
)
def test_what_cannot_be_explained_is_refused_before_anything_is_written(
    out: str,
    options: list[str],
    code: str,
    photo: Path,
    tmp_path: Path,
    tiny_bundle_made: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(tmp_path.rglob("*"))
    given = ["explain", str(photo), "-o", str(tmp_path / out), "--bundle", str(tiny_bundle_made)]
    assert main([*given, *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert f"[{code}]" in captured.err
    assert sorted(tmp_path.rglob("*")) == before
