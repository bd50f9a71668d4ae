"""Scenes on disk: COCO, captions, and the shipped sets."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecap.core.errors import InputError
from edgecap.reference.scenes import dataset, shipped, sprites
from edgecap.reference.scenes.dataset import write_dataset
from edgecap.reference.scenes.describe import mentions
from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.graph import Statement
from edgecap.reference.scenes.parse import parse
from edgecap.reference.scenes.relations import holds
from edgecap.reference.scenes.splits import scenes
from edgecap.reference.tokens import LANGUAGES


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scenes") / "out"
    write_dataset(out, n=12, seed=3, split="val")
    return out


def test_images_are_the_splits_scenes(written: Path) -> None:
    for i, (pixels, _) in enumerate(scenes("val", 12, seed=3)):
        with Image.open(written / "images" / f"{i:06d}.png") as image:
            assert np.array_equal(np.asarray(image), pixels)
    assert len(list((written / "images").iterdir())) == 12


def test_annotations_are_coco(written: Path) -> None:
    coco = json.loads((written / "annotations.json").read_text())
    assert set(coco) == {"images", "annotations", "categories"}
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert len(names) == len(set(names.values())) == 102 + 48
    ids = [annotation["id"] for annotation in coco["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    images = {image["id"]: image for image in coco["images"]}
    for image_id, (_, scene) in enumerate(scenes("val", 12, seed=3), start=1):
        image = images[image_id]
        assert (image["width"], image["height"]) == (224, 224)
        assert (written / image["file_name"]).is_file()
        of_image = [a for a in coco["annotations"] if a["image_id"] == image_id]
        for annotation, thing in zip(of_image, scene.things, strict=True):
            x, y, width, height = annotation["bbox"]
            assert (x, y, x + width, y + height) == thing.box
            assert annotation["area"] == width * height and annotation["iscrowd"] == 0
            words = names[annotation["category_id"]].split()
            assert words[-1] == thing.name.noun.split("_")[-1]
            assert thing.name.color in ("", words[0])


def test_captions_say_what_the_images_show(written: Path) -> None:
    rows = [json.loads(line) for line in (written / "captions.jsonl").read_text().splitlines()]
    assert [(row["image"], row["lang"]) for row in rows] == [
        (f"images/{i:06d}.png", language) for i in range(12) for language in LANGUAGES
    ]
    shown = [scene for _, scene in scenes("val", 12, seed=3)]
    for row in rows:
        scene = shown[int(row["image"][7:13])]
        true = [(mention.name, mention.count) for mention in mentions(scene)]
        for text in (row["text"], row["grounded"]):
            read = parse(text, row["lang"])
            assert read.unknown == ()
            said = read.statement
            assert [(mention.name, mention.count) for mention in said.mentions] == true
            assert said.relation is None or holds(scene, said.relation)
        assert "<loc_" in row["grounded"] and "<loc_" not in row["text"]


def test_captions_in_languages_of_ones_choice(tmp_path: Path) -> None:
    write_dataset(tmp_path / "out", n=2, languages=("nl", "ko"))
    text = (tmp_path / "out" / "captions.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["lang"] for row in rows] == ["nl", "ko"] * 2
    assert all(parse(row["text"], row["lang"]).unknown == () for row in rows)
    with pytest.raises(InputError, match="'xx'"):
        write_dataset(tmp_path / "other", n=1, languages=("nl", "xx"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("split", "held_out"), [("phrasing", True), ("val", False)])
def test_held_out_phrasing_is_in_its_split_and_no_other(split: str, held_out: bool) -> None:
    for i, (_, scene) in enumerate(scenes(split, 60)):
        said = Statement(mentions(scene))
        for row in dataset.caption_rows("a.png", scene, split, i):
            grammar = for_language(row["lang"])
            unseen = [grammar.render(said, template) for template in grammar.held_out_templates]
            assert any(row["text"].startswith(text) for text in unseen) == held_out


def test_writing_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    real = dataset.caption_rows

    def fails_late(image: str, *rest: object) -> object:
        if image.endswith("2.png"):
            raise RuntimeError("in the middle")
        return real(image, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(dataset, "caption_rows", fails_late)
    with pytest.raises(RuntimeError, match="in the middle"):
        write_dataset(out, n=4)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    write_dataset(out, n=1)
    with pytest.raises(InputError, match="--overwrite"):
        write_dataset(out, n=2)
    write_dataset(out, n=2, overwrite=True)
    assert len(list((out / "images").iterdir())) == 2


def test_bad_requests_leave_nothing(tmp_path: Path) -> None:
    for request in ({"split": "tset", "n": 1}, {"n": 0}, {"n": 1, "seed": -1}):
        with pytest.raises(InputError):
            write_dataset(tmp_path / "out", **request)
    other = tmp_path / "home"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"annotations\.json"):
        write_dataset(other, n=1, overwrite=True)
    assert list(tmp_path.iterdir()) == [other] and (other / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("name", "size"), [("calibration", 128), ("evaluation", 512), ("gate", 128)]
)
def test_shipped_sets_are_the_first_scenes_of_their_split(name: str, size: int) -> None:
    loaded = shipped.load_set(name)
    split, n = shipped.SETS[name]
    assert len(loaded) == n == size
    for (pixels, scene), (drawn, true) in zip(loaded, scenes(split, 40), strict=False):
        assert scene == true
        assert pixels.dtype == np.uint8 and np.array_equal(pixels, drawn)
    few = shipped.load_set(name, limit=3)
    assert [scene for _, scene in few] == [scene for _, scene in loaded[:3]]


def test_what_decides_never_sees_what_is_reported() -> None:
    """Sets are of different splits, and no image of one is in another."""
    assert len({split for split, _ in shipped.SETS.values()}) == len(shipped.SETS)
    seen: dict[bytes, str] = {}
    for name in shipped.SETS:
        for pixels, _ in shipped.load_set(name):
            assert seen.setdefault(pixels.tobytes(), name) == name
    assert len(seen) == sum(n for _, n in shipped.SETS.values())


def test_shipped_sets_stay_small() -> None:
    path = Path(shipped.__file__).parents[1] / "data"
    assert (path / "evaluation.zip").stat().st_size < 12e6
    assert (path / "calibration.zip").stat().st_size < 3e6
    assert (path / "gate.zip").stat().st_size < 3e6


def test_a_set_is_written_the_same_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shipped.write_set(tmp_path / name, scenes("val", 3))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_damaged_sets_are_refused_by_name(tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    shipped.write_set(whole, scenes("val", 2))
    truncated = tmp_path / "truncated.zip"
    truncated.write_bytes(whole.read_bytes()[:-40])
    flipped = bytearray(whole.read_bytes())
    flipped[200] ^= 255
    altered = tmp_path / "altered.zip"
    altered.write_bytes(flipped)
    lacking = tmp_path / "lacking.zip"
    with zipfile.ZipFile(lacking, "w") as archive:
        archive.writestr("truth.jsonl", json.dumps({"image": "000.webp"}))
    foreign = tmp_path / "foreign.zip"
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr("truth.jsonl", "[1, 2]")
    for path in (truncated, altered, lacking, foreign, tmp_path / "absent.zip"):
        with pytest.raises(InputError, match=path.name):
            shipped.read_set(path)
    with pytest.raises(InputError, match="calibration, evaluation"):
        shipped.load_set("training")


def test_reading_a_set_needs_no_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sprites, "_font", lambda: pytest.fail("the font was asked for"))
    assert len(shipped.load_set("calibration", limit=2)) == 2
