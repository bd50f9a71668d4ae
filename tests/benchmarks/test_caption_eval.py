"""`edgecap eval --data`: a user's captions, their metrics, and how bad data is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sentences import CANDIDATES, IMAGES
from tiny_checkpoints import make_whole

from edgecap.apps.caption_metrics import score_captions, tokenize
from edgecap.apps.pairs import Region
from edgecap.benchmarks.caption_eval import recalled
from edgecap.cli.app import main
from edgecap.runtime.captions import Mention

RECORDED = json.loads((Path(__file__).parents[1] / "support" / "coco_scores.json").read_text())
ROWS: list[dict[str, Any]] = [
    {"image": "a.png", "captions": ["A red circle.", "One circle."]},
    {"image": "b.png", "caption": "A dog.", "regions": [{"phrase": "dog", "box": [1, 1, 5, 5]}]},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, name in enumerate(("a.png", "b.png")):
        Image.fromarray(np.full((16, 24, 3), 90 * i, np.uint8)).save(tmp_path / name)
    return tmp_path


def jsonl(folder: Path, *rows: Any) -> Path:
    file = folder / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_scores_equal_those_recorded_from_pycocoevalcap() -> None:
    scores = score_captions(CANDIDATES, IMAGES)
    assert scores.cider_d == pytest.approx(RECORDED["cider_d"], abs=1e-6)
    assert scores.bleu_4 == pytest.approx(RECORDED["bleu_4"], abs=1e-6)
    assert scores.rouge_l == pytest.approx(RECORDED["rouge_l"], abs=1e-6)


def test_words_are_split_as_recorded_from_the_penn_treebank_tokenizer() -> None:
    texts = [text for each in IMAGES for text in each] + CANDIDATES
    assert [tokenize(text) for text in texts] == RECORDED["tokens"]


def test_scripts_without_spaces_are_split_into_characters() -> None:
    assert tokenize("犬と猫。a cat") == ["犬", "と", "猫", "a", "cat"]
    assert tokenize("개 한 마리") == ["개", "한", "마리"]


def test_perfect_and_empty_captions() -> None:
    texts = ["a red circle is above a dog", "two green squares and one cat"]
    perfect = score_captions(texts, [[text] for text in texts])
    assert perfect.cider_d == pytest.approx(10) and perfect.bleu_4 == perfect.rouge_l == 1
    empty = score_captions(["", ""], [[text] for text in texts])
    assert (empty.cider_d, empty.bleu_4, empty.rouge_l) == (0, 0, 0)
    assert score_captions(["a dog"], [["a dog"]]).cider_d is None


def test_a_box_finds_one_region_and_words_name_it() -> None:
    regions = [
        Region("a black dog", (0, 0, 10, 10)),
        Region("the cat", (20, 0, 30, 10)),
        Region("", (0, 50, 10, 60)),
    ]

    def mention(phrase: str, *boxes: tuple[float, float, float, float]) -> Mention:
        return Mention(phrase, (0, len(phrase)), boxes, (1.0,) * len(boxes))

    assert recalled(regions, []) == (0, 0)
    dog = mention("The dog", (0, 0, 10, 9))
    assert recalled(regions, [dog]) == (1, 1)
    assert recalled(regions, [dog, dog]) == (1, 1)  # the second finds nothing more
    assert recalled(regions, [mention("a bird", (20, 0, 30, 9))]) == (1, 0)
    assert recalled(regions, [mention("it", (0, 50, 10, 60))]) == (1, 1)
    assert recalled(regions, [mention("the dog", (8, 0, 18, 10))]) == (0, 0)


@pytest.mark.parametrize("kind", ["jsonl", "coco", "imagefolder"])
def test_every_kind_of_data(
    kind: str, folder: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder
    if kind == "jsonl":
        data = jsonl(folder, *ROWS)
    elif kind == "coco":
        images = [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate("ab")]
        texts = [(0, "A red circle."), (1, "A dog."), (0, "One circle.")]
        data = folder / "captions.json"
        data.write_text(
            json.dumps(
                {
                    "images": images,
                    "annotations": [{"image_id": i, "caption": text} for i, text in texts],
                }
            )
        )
    else:
        rows = [{**row, "file_name": row["image"]} for row in ROWS]
        (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = folder / "report.json"
    args = ["eval", str(tiny_bundle_made), "--data", str(data), "--json", str(out)]
    assert main(args) == 0
    shown = capsys.readouterr().out
    assert "CIDEr-D" in shown and "BLEU-4" in shown and "ROUGE-L" in shown
    report = json.loads(out.read_text())
    assert (report["images"], report["references"]) == (2, 3)
    assert report["regions"] == (0 if kind == "coco" else 1)
    assert [Path(one["image"]).name for one in report["captions"]] == ["a.png", "b.png"]
    written = [one["caption"] for one in report["captions"]]
    again = score_captions(written, [["A red circle.", "One circle."], ["A dog."]])
    assert report["scores"]["rouge_l"] == pytest.approx(again.rouge_l)
    assert report["scores"]["cider_d"] == pytest.approx(again.cider_d)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"image": "c.png", "caption": "x"}, "mine.jsonl:2 names an image that does not exist"),
        ({"image": "a.png", "captions": []}, "mine.jsonl:2 has 'captions'"),
        ({"image": "a.png", "captions": ["x", 3]}, "mine.jsonl:2 has no caption"),
        ({"image": "a.png", "caption": "x", "captions": ["x"]}, "mine.jsonl:2 has two"),
        ({**ROWS[1], "regions": [{"box": [5, 1, 1, 5]}]}, "mine.jsonl:2 has a box"),
        ({**ROWS[1], "regions": [{"phrase": "x"}]}, "mine.jsonl:2 has a region"),
        ({**ROWS[1], "regions": [{"phrase": 1, "box": [1, 1, 5, 5]}]}, "mine.jsonl:2 has a region"),
        ({**ROWS[1], "regions": {}}, "mine.jsonl:2 has 'regions'"),
        ({"image": "broken.png", "caption": "x"}, "mine.jsonl:2: "),
    ],
)
def test_bad_data_is_one_line_with_its_place(
    row: Any,
    said: str,
    folder: Path,
    tiny_bundle_made: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "broken.png").write_bytes(b"no image")
    data = jsonl(folder, ROWS[0], row)
    assert main(["eval", str(tiny_bundle_made), "--data", str(data)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err and captured.err.count("\n") == 1


def test_options_of_scenes_and_of_data_are_not_mixed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(jsonl(folder, *ROWS))
    for options, said in (
        (["--data", data, "--split", "test"], "--split is about drawn scenes"),
        (["--data", data, "--no-grammar"], "--no-grammar is about drawn scenes"),
        (["--images", str(folder)], "--images is about your own captions"),
        (["--n", "1"], "at least 2"),
    ):
        assert main(["eval", "S", *options]) == 2
        assert said in capsys.readouterr().err


def test_a_checkpoint_is_scored_and_drawn_scenes_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(make_whole("blip", "tiny", tmp_path / "blip"))
    data = str(jsonl(folder, *ROWS))
    capsys.readouterr()
    assert main(["eval", model, "--data", data, "--lang", "en"]) == 0
    captured = capsys.readouterr()
    assert f"{model} (transformers, fp32): 2 images, 3 captions of {data}" in captured.out
    assert "wrote none of the data's 1 box" in " ".join(captured.out.split())
    assert captured.err == ""  # no warning of any package
    assert main(["eval", model]) == 2
    assert f"edgecap eval {model} --data" in capsys.readouterr().err
    assert main(["eval", model, "--data", data, "--prompt", "nope"]) == 2
    assert "[prompt.unknown]" in capsys.readouterr().err


def test_the_language_is_that_of_the_captions(
    folder: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = jsonl(folder, *ROWS, {"image": "a.png", "caption": "赤い円。", "lang": "ja"})
    args = ["eval", str(tiny_bundle_made), "--data", str(data), "--lang", "ja", "--json", "-"]
    assert main(args) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["references"], report["about"]["lang"]) == (4, "ja")
    assert main([*args[:-3], "xx"]) == 2
    assert "[language.unknown]" in capsys.readouterr().err
