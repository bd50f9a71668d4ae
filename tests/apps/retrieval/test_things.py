"""Images are found by one thing in them. With a captioner that knows what they show."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from PIL import Image
from refusals import refusal
from reseal import reseal

from edgecap.apps.retrieval import Hit, build, open_index, store, update
from edgecap.apps.retrieval.manifest import MANIFEST
from edgecap.apps.retrieval.sheet import GAP, LINE, contact_sheet
from edgecap.core.errors import BundleError
from edgecap.reference.scenes.graph import Name, Thing
from edgecap.runtime import Captioner

RED, BLUE, GREEN = Name("square", "red"), Name("circle", "blue"), Name("star", "green")
LEFT, MIDDLE, RIGHT, TOP = (
    (8.0, 100.0, 48.0, 140.0),
    (88.0, 100.0, 128.0, 140.0),
    (168.0, 100.0, 208.0, 140.0),
    (88.0, 8.0, 128.0, 48.0),
)
THINGS = (Thing(RED, LEFT), Thing(BLUE, MIDDLE), Thing(RED, RIGHT), Thing(GREEN, TOP))
SHOWN = {"all.png": THINGS, "blue.png": THINGS[1:2], "red-green.png": (THINGS[0], THINGS[3])}


@pytest.fixture
def captioner() -> Captioner:
    return oracle.captioner(THINGS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "images"
    place.mkdir()
    for name, things in SHOWN.items():
        save(place / name, things)
    return place


def save(path: Path, things: Sequence[Thing]) -> None:
    """Twice as wide and high as the model_input."""
    Image.fromarray(oracle.image(things)).resize((448, 448), Image.Resampling.NEAREST).save(path)


def twice(*boxes: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(2 * edge for edge in box) for box in boxes)


def found(index: Path, captioner: Captioner, text: str, k: int = 10) -> list[Hit]:
    return open_index(index).search(captioner.embed_texts([text])[0], k)


def test_a_thing_among_others_is_found_and_told_where(
    folder: Path, captioner: Captioner, tmp_path: Path
) -> None:
    out = tmp_path / "index"
    assert update(folder, out, captioner, "oracle").images == 3
    opened = open_index(out)
    assert len(opened) == 3 and opened.manifest.rows == (1 + 3) + 1 + (1 + 2)
    first, second, *_ = found(out, captioner, "a green star")
    assert {first.path.name, second.path.name} == {"all.png", "red-green.png"}
    assert first.boxes == second.boxes == twice(TOP) and second.score > 0.99
    by_name = {hit.path.name: hit for hit in found(out, captioner, "two red squares")}
    assert len(by_name) == 3  # each image once
    assert by_name["all.png"].boxes == twice(LEFT, RIGHT)  # a group is one thing
    among, alone, *_ = found(out, captioner, "a blue circle")  # as near: in the order of names
    assert (among.path.name, among.boxes) == ("all.png", twice(MIDDLE))
    assert (alone.path.name, alone.boxes) == ("blue.png", ())
    both, *_ = found(out, captioner, "a red and a green one")
    assert both.path.name == "red-green.png" and both.boxes == ()  # the whole says both


def test_whole_images_alone(folder: Path, captioner: Captioner, tmp_path: Path) -> None:
    out = tmp_path / "index"
    update(folder, out, captioner, "oracle", whole=True)
    assert open_index(out).manifest.rows == 3
    assert all(hit.score < 0.9 for hit in found(out, captioner, "a green star"))
    save(folder / "new.png", THINGS)
    update(folder, out, captioner, "oracle")  # it goes on as it began
    assert open_index(out).manifest.rows == 4
    things = tmp_path / "things"
    update(folder, things, captioner, "oracle")
    before = (things / MANIFEST).read_bytes()
    assert refusal(lambda: update(folder, things, captioner, "x", whole=True)) == "index.whole"
    assert (things / MANIFEST).read_bytes() == before


def test_an_index_with_things_follows_its_folder(
    folder: Path, captioner: Captioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "CHECKPOINT", 1)
    monkeypatch.setattr(build, "BATCH", 1)
    out, fresh = tmp_path / "index", tmp_path / "fresh"
    update(folder, out, captioner, "oracle")
    (folder / "blue.png").unlink()
    (folder / "all.png").rename(folder / "zoo.png")
    shutil.copyfile(folder / "red-green.png", folder / "copy.png")
    save(folder / "again.png", THINGS[1:])
    shutil.copyfile(folder / "again.png", folder / "twin.png")
    summary = update(folder, out, captioner, "oracle")
    assert (summary.images, summary.embedded, summary.reused, summary.removed) == (5, 1, 3, 2)
    update(folder, fresh, captioner, "oracle")
    for text in ("a green star", "two red squares", "a blue circle"):
        here, there = (
            {
                hit.path.name: (round(hit.score, 5), hit.boxes)
                for hit in found(each, captioner, text)
            }
            for each in (out, fresh)
        )
        assert here == there and len(here) == 5
    keys = store.keys_of(store.read(out).entries)
    assert len(set(keys.tolist())) == len(keys) == len(store.read(out).vectors)


def test_checkpoints_with_things_are_taken_up(
    folder: Path, captioner: Captioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "CHECKPOINT", 1)
    monkeypatch.setattr(build, "BATCH", 1)
    out = tmp_path / "index"
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(build._Run, "_finish", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        update(folder, out, captioner, "oracle")
    assert len(open_index(out).manifest.segments) == 3
    assert len(found(out, captioner, "a green star")) == 3
    assert update(folder, out, captioner, "oracle").embedded == 0
    assert len(open_index(out).manifest.segments) == 1


def test_the_graph_of_an_index_with_things(
    folder: Path, captioner: Captioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "EXACT_ROWS", 4)
    out = tmp_path / "index"
    update(folder, out, captioner, "oracle")
    index = open_index(out)
    assert index.manifest.graph is not None and index.manifest.graph.rows == index.manifest.rows
    for text in ("a green star", "two red squares"):
        query = captioner.embed_texts([text])[0]
        assert index.search(query, 3) == index.search(query, 3, exact=True)
        assert len(index.search(query, 3)) == 3


@pytest.mark.parametrize(
    "box",
    [
        [1, 2, 3],
        [1, 2, 3, "4"],
        [1, 2, 3, True],
        [1, 2, 3, 1e12],
        [1, 2, 3, float("nan")],
        [3, 2, 1, 4],
        [1, 4, 3, 2],
        [-1, 2, 3, 4],
        None,
        {"x0": 1},
    ],
)
def test_a_box_that_is_none(
    folder: Path, captioner: Captioner, tmp_path: Path, box: object
) -> None:
    out = tmp_path / "index"
    update(folder, out, captioner, "oracle")

    def change(rows: list[dict[str, Any]]) -> None:
        rows[0]["things"][1][0] = box  # as many things as before

    reseal(out, change)
    with pytest.raises(BundleError, match="has an entry without exactly") as refused:
        open_index(out)
    assert refused.value.code == "index.entries"


@pytest.mark.parametrize(
    ("things", "told"),
    [
        (lambda things: things[:1], "does not describe"),
        (lambda things: [*things, things[0]], "does not describe"),
        (lambda things: [[], *things[1:]], "without exactly"),
        (lambda things: "things", "without exactly"),
        (lambda things: None, "without exactly"),
    ],
)
def test_things_that_lie(
    folder: Path, captioner: Captioner, tmp_path: Path, things: Callable[[Any], object], told: str
) -> None:
    out = tmp_path / "index"
    update(folder, out, captioner, "oracle")
    reseal(out, lambda rows: rows[0].update(things=things(rows[0]["things"])))
    with pytest.raises(BundleError, match=told) as refused:
        open_index(out)
    assert refused.value.code == "index.entries"


def test_keys_that_reach_into_a_neighbour(
    folder: Path, captioner: Captioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, parts = tmp_path / "index", tmp_path / "parts"
    update(folder, out, captioner, "oracle")
    reseal(out, lambda rows: rows[1].update(key=rows[0]["key"] + 3))
    with pytest.raises(BundleError, match="occurs twice"):
        open_index(out)
    monkeypatch.setattr(build, "CHECKPOINT", 1)
    monkeypatch.setattr(build, "BATCH", 1)
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(build._Run, "_finish", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        update(folder, parts, captioner, "oracle")
    reseal(parts, lambda rows: rows[0].update(key=0))  # of each segment
    with pytest.raises(BundleError, match="occurs twice"):
        open_index(parts)


def test_the_same_bytes_show_the_same(folder: Path, captioner: Captioner, tmp_path: Path) -> None:
    out = tmp_path / "index"
    update(folder, out, captioner, "oracle")
    reseal(out, lambda rows: rows[1].update(sha256=rows[0]["sha256"]))
    with pytest.raises(BundleError, match="other objects than an image with the same bytes"):
        open_index(out)


def test_a_manifest_that_lies_about_things(
    folder: Path, captioner: Captioner, tmp_path: Path
) -> None:
    out = tmp_path / "index"
    update(folder, out, captioner, "oracle")
    whole = json.loads((out / MANIFEST).read_bytes())
    for change in ({"whole": True}, {"segments": [{**whole["segments"][0], "images": 9}]}):
        (out / MANIFEST).write_text(json.dumps({**whole, **change}))
        assert refusal(lambda: open_index(out)) == "index.manifest"


def test_the_sheet_shows_where(folder: Path) -> None:
    hits = [Hit(1, folder / "all.png", 0.9, twice(TOP))]
    boxed, plain = (
        np.asarray(contact_sheet("a star", True, each))
        for each in (hits, [Hit(1, folder / "all.png", 0.9)])
    )
    rows, columns = np.nonzero((boxed != plain).any(-1))
    scale = 176 / 448
    assert abs(rows.min() - (LINE + 2 * GAP + 16 * scale)) < 2
    assert abs(columns.max() - (GAP + 256 * scale)) < 3
