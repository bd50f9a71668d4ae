"""Captions are read from the files people have, and what is wrong is named with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecap.apps.pairs import Span, read_pairs
from edgecap.core.errors import InputError
from edgecap.reference.scenes.dataset import write_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((6, 9, 3), np.uint8)).save(tmp_path / name)
    return tmp_path


def lines(file: Path, *rows: Any) -> Path:
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return file


def coco(file: Path, **changes: Any) -> Path:
    document = {
        "info": {"year": 2014},
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}],
        "annotations": [
            {"id": 1, "image_id": 7, "caption": "Een hond. "},
            {"id": 2, "image_id": 8, "caption": "Een kat."},
            {"id": 3, "image_id": 7, "caption": "Nog een hond."},
        ],
    }
    file.write_text(json.dumps(document | changes), encoding="utf-8")
    return file


def test_jsonl_with_spans_and_languages(folder: Path) -> None:
    spans = [{"start": 0, "end": 8, "boxes": [[0, 1, 5, 6], [1, 1, 2.5, 3]]}]
    file = lines(
        folder / "mine.jsonl",
        {"image": "a.png", "caption": "Een  hond."},
        {"image": "b.png", "text": "A cat.", "lang": "en"},
        {"image": "b.png", "caption": "Een kat.", "lang": "nl", "spans": spans},
    )
    first, second = read_pairs(file, "nl")
    assert (first.image, first.caption, first.spans) == (folder / "a.png", "Een hond.", ())
    assert second.spans == (Span(0, 8, ((0.0, 1.0, 5.0, 6.0), (1.0, 1.0, 2.5, 3.0))),)
    assert second.where.endswith("mine.jsonl:3")
    assert len(read_pairs(file, "en")) == 2
    with pytest.raises(InputError, match="no captions in 'ko'.* in en"):
        read_pairs(lines(file, {"image": "b.png", "text": "A cat.", "lang": "en"}), "ko")


def test_what_edgecap_scenes_writes_is_read_as_it_is(tmp_path: Path) -> None:
    write_dataset(tmp_path / "drawn", n=3, languages=("en", "nl"))
    pairs = read_pairs(tmp_path / "drawn", "nl")
    assert [pair.image.name for pair in pairs] == ["000000.png", "000001.png", "000002.png"]
    assert all("<loc_" in pair.grounded and "<loc_" not in pair.caption for pair in pairs)
    with pytest.raises(InputError, match=r"pairs\.detections.* captions\.jsonl"):
        read_pairs(tmp_path / "drawn" / "annotations.json", "nl")


def test_coco_captions(folder: Path) -> None:
    pairs = read_pairs(coco(folder / "captions.json"), "nl")
    assert [(pair.image.name, pair.caption) for pair in pairs] == [
        ("a.png", "Een hond."),
        ("b.png", "Een kat."),
        ("a.png", "Nog een hond."),
    ]
    apart = folder / "annotations"
    apart.mkdir()
    assert len(read_pairs(coco(apart / "captions.json"), "nl", folder)) == 3


def test_imagefolder_in_both_forms(folder: Path) -> None:
    file = lines(
        folder / "metadata.jsonl",
        {"file_name": "a.png", "text": "Een hond.", "width": 9},
        {"file_name": "b.png", "text": "Een kat."},
    )
    assert [pair.caption for pair in read_pairs(folder, "nl")] == ["Een hond.", "Een kat."]
    file.unlink()
    table = 'file_name,caption\na.png,"Een hond, en meer."\nb.png,Een kat.\n'
    (folder / "metadata.csv").write_text(table)
    assert [pair.caption for pair in read_pairs(folder, "nl")] == ["Een hond, en meer.", "Een kat."]


GOOD = {"image": "a.png", "caption": "Een hond."}
BOX = "<loc_01><loc_02><loc_03><loc_04>"


def span(*boxes: Any, start: Any = 0, end: Any = 8) -> dict[str, Any]:
    return {**GOOD, "spans": [{"start": start, "end": end, "boxes": list(boxes)}]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"caption": "Een hond."}, "names no image"),
        ({"image": "c.png", "caption": "Een hond."}, r"does not exist, .*c\.png"),
        ({"image": "a.png"}, "has no caption"),
        ({"image": "a.png", "caption": " "}, "has no caption"),
        ({**GOOD, "text": "Een hond."}, "alternative fields"),
        ({**GOOD, "span": []}, "has 'span'"),
        ({**GOOD, "lang": 3}, "'lang'"),
        ({**GOOD, "caption": f"Een hond{BOX}."}, "location tokens"),
        ({**GOOD, "grounded": f"Een kat{BOX}."}, "not those of the caption"),
        ({**GOOD, "grounded": f"Een hond{BOX}<loc_05>."}, "no boxes"),
        ({**GOOD, "grounded": "Een hond<loc_03><loc_02><loc_01><loc_04>."}, "no boxes"),
        ({**GOOD, "spans": {}}, "not a list"),
        ({**GOOD, "spans": [[0, 3]]}, "exactly start, end and boxes"),
        ({**span([0, 0, 1, 1]), "caption": " Een hond."}, "spaces in its caption"),
        (span([0, 0, 1, 1], end=90), "outside the caption"),
        (span([0, 0, 1, 1], start=True), "outside the caption"),
        (span(), "no boxes for"),
        (span([3, 0, 1, 1]), "x0 < x1"),
        (span([0, 0, 1]), "x0 < x1"),
        (span([0, 0, 1, "1"]), "x0 < x1"),
        ([], "not a JSON object"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(folder: Path, row: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"mine\.jsonl:2 .*{message}"):
        read_pairs(lines(folder / "mine.jsonl", GOOD, row), "nl")


def test_files_that_are_no_such_file(folder: Path) -> None:
    bad = folder / "mine.jsonl"
    for data, message in (
        (b'{"image": "a.png", "caption": "x"}\n{"image"', r"mine\.jsonl:2 is not JSON"),
        (b'{"image": "a.png"\xff', "1 is not UTF-8"),
        (b"[" * 100_000, r"mine\.jsonl:1 is not JSON"),
        (b"", "holds no captions in 'nl'"),
    ):
        bad.write_bytes(data)
        with pytest.raises(InputError, match=message):
            read_pairs(bad, "nl")
    for name in ("absent.jsonl", "a.png"):
        with pytest.raises(InputError, match=name):
            read_pairs(folder / name, "nl")
    with pytest.raises(InputError, match="not a directory of images"):
        read_pairs(lines(bad, GOOD), "nl", folder / "absent")


def test_directories_must_hold_one_file_of_captions(folder: Path) -> None:
    with pytest.raises(InputError, match="none of"):
        read_pairs(folder, "nl")
    lines(folder / "captions.jsonl", GOOD)
    (folder / "metadata.csv").write_text("file_name,text\n")
    with pytest.raises(InputError, match="several of"):
        read_pairs(folder, "nl")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "no list 'images'"),
        ({"annotations": [1]}, "no list 'annotations'"),
        ({"images": [{"file_name": "a.png"}]}, r"images\[0\] has no id"),
        ({"annotations": [{"image_id": 9, "caption": "x"}]}, r"annotations\[0\] has image_id 9"),
        ({"annotations": [{"image_id": 7, "caption": "x"}]}, r"1 of 2 images.* b\.png"),
        ({"annotations": [{"image_id": 7, "caption": 3}]}, "has no caption"),
        ({"images": [{"id": 7, "file_name": "c.png"}]}, r"does not exist, .*c\.png|not listed"),
    ],
)
def test_bad_coco(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pairs(coco(folder / "captions.json", **changes), "nl")


def test_coco_that_is_no_document(folder: Path) -> None:
    for text, message in (
        ("[]", "no object"),
        ('{\n"images": ', r"c\.json:2 is not JSON"),
        ('{"images": ' + "[" * 100_000, r"c\.json is not JSON"),
        ('{"images": ' + "9" * 5_000, r"c\.json is not JSON"),
    ):
        (folder / "c.json").write_text(text)
        with pytest.raises(InputError, match=message):
            read_pairs(folder / "c.json", "nl")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,text\na.png,x\n", r"csv:1 has no columns"),
        ("", r"csv:1 has no columns"),
        ("file_name,text\na.png\n", r"csv:2 does not have 2 cells"),
        ("file_name,text\na.png,x,y\n", r"csv:2 does not have 2 cells"),
        ('file_name,text\na.png,"x\n', r"csv:\d is not CSV"),
        ('file_name,"text', r"csv:\d is not CSV"),
        ("file_name,text,caption\na.png,x,y\n", "both"),
        ("file_name,text\na.png,x\n", r"1 of 2 images.* b\.png"),
        ("file_name,text,lang\na.png,x,en\nb.png,x,en\n", "no captions in 'nl'"),
    ],
)
def test_bad_imagefolders(folder: Path, table: str, message: str) -> None:
    (folder / "metadata.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        read_pairs(folder, "nl")
