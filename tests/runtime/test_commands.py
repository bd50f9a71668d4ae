"""caption, verify and inspect on a bundle that works; drawing."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest
from PIL import Image, ImageFont
from tiny_onnx import image

from edgecap.cli.app import main
from edgecap.models import loading
from edgecap.models.loading import load
from edgecap.reference import shipped as shipped_models
from edgecap.runtime import Mention, draw


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(image(0, 60, 40))
    return path


def test_caption_as_json(
    photo: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--bundle", str(tiny_bundle_made), "--lang", "ja", "--json", "-"]
    assert main(["caption", str(photo), *options]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    expected = load(tiny_bundle_made).caption(photo, lang="ja")[0]
    assert (row["text"], row["lang"], tuple(row["tokens"])) == (
        expected.text,
        "ja",
        expected.tokens,
    )
    assert row["image"] == str(photo)


def test_the_only_bundle_here_is_taken_and_named(
    photo: Path,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tiny_bundle.parent)
    assert main(["caption", str(photo)]) == 0
    assert f"using {tiny_bundle.name} (the newest bundle here)" in capsys.readouterr().err


def test_of_several_bundles_a_script_must_name_one(
    photo: Path,
    tiny_bundle_made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(("new", "old")):
        shutil.copytree(tiny_bundle_made, tmp_path / name)
        os.utime(tmp_path / name / "manifest.json", (1e9 - age, 1e9 - age))
    assert main(["caption", str(photo)]) == 2
    refusal = capsys.readouterr().err
    assert "[bundle.several]" in refusal and "new, old" in refusal and "--bundle new" in refusal
    with pseudo_terminal() as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", terminal)
        assert main(["caption", str(photo)]) == 0
    assert "using new (the newest bundle here)" in capsys.readouterr().err


@contextmanager
def pseudo_terminal() -> Iterator[TextIO]:
    """The writing end of a terminal that nobody looks at."""
    reader, writer = os.openpty()
    try:
        with open(writer, "w", encoding="utf-8") as terminal:
            yield terminal
    finally:
        os.close(reader)


@pytest.mark.parametrize(("shipped", "taken"), [("MS", "S"), ("M", "M")])
def test_a_larger_shipped_model_does_not_become_the_default(
    shipped: str, taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in shipped:
        (tmp_path / f"captioner-{name}.safetensors").touch()
    monkeypatch.setattr(shipped_models, "_DATA", tmp_path)
    assert loading.default_model(tmp_path)[0] == taken


def test_a_name_that_is_not_unicode_costs_nothing(
    photo: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = photo.rename(photo.parent / os.fsdecode(b"caf\xe9.png"))
    asked = ["caption", str(odd), str(odd), "--bundle", str(tiny_bundle_made)]
    assert main(asked) == 0
    assert capsys.readouterr().out.count("caf\N{REPLACEMENT CHARACTER}.png: ") == 2
    assert main([*asked, "--json", "-"]) == 0
    assert [row["image"] for row in json.loads(capsys.readouterr().out)] == [str(odd)] * 2


def test_several_images_are_told_apart(
    photo: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["caption", str(photo), str(photo), "--bundle", str(tiny_bundle_made)]) == 0
    assert capsys.readouterr().out.count(f"{photo}: ") == 2


def test_a_directory_is_captioned_in_order_with_bad_images_told(
    tmp_path: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "below").mkdir()
    for i, name in enumerate(("c.png", "a.png", "below/b.PNG")):
        (tmp_path / name).write_bytes(image(i, 30, 40))
    (tmp_path / "b.jpg").write_bytes(b"not an image")
    (tmp_path / "notes.txt").write_text("not looked at")
    bundle = ["--bundle", str(tiny_bundle_made)]
    assert main(["caption", str(tmp_path), *bundle, "--json", "-"]) == 2
    rows = json.loads(capsys.readouterr().out)
    names = [Path(row["image"]).relative_to(tmp_path).as_posix() for row in rows]
    assert names == ["a.png", "b.jpg", "below/b.PNG", "c.png"]
    assert [row.get("error", {}).get("code") for row in rows] == [
        None, "image.unreadable", None, None,
    ]  # fmt: skip


def test_drawn_words_come_again_with_their_seed(
    photo: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def output(*options: str) -> str:
        bundle = ["--bundle", str(tiny_bundle_made), "--max-length", "9"]
        assert main(["caption", str(photo), *bundle, *options]) == 0
        return capsys.readouterr().out

    hot = ("--temperature", "9")
    assert output("--seed", "3") == output("--seed", "3", "--temperature", "1")
    assert output("--seed", "3", *hot) != output("--seed", "4", *hot) == output("--seed", "4", *hot)
    assert output("--top-k", "1") == output() == output("--beams", "1")


def test_drawing_writes_a_image(
    photo: Path, tiny_bundle_made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "drawn.png"
    bundle = str(tiny_bundle_made)
    assert main(["caption", str(photo), "--bundle", bundle, "--draw", str(out)]) == 0
    with Image.open(out) as drawn:
        assert max(drawn.size) == draw.SMALLEST
    assert str(out) in capsys.readouterr().err


def test_verify(tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tiny_bundle_made)]) == 0
    assert capsys.readouterr().out.endswith("verified\n")
    assert main(["verify", str(tiny_bundle_made), "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["here"]["verdict"] == report["at_export"]["verdict"] == "pass"


def test_inspect(tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tiny_bundle_made)]) == 0
    shown = capsys.readouterr().out
    for part in ("tiny-onnx-fp32", "uint8 [B,224,224,3]", "float32 [1,B,1,292,8]", "decode.onnx"):
        assert part in shown
    assert main(["inspect", str(tiny_bundle_made), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["interface"]["dims"]["V"] == 4096


MENTIONS = [
    Mention("a dog", (0, 5), ((10, 10, 60, 60),), (0.9,)),
    Mention("two cats", (6, 14), ((70, 20, 99, 50), (0, 0, 30, 9)), (0.9, 0.8)),
]


def test_every_box_is_drawn_in_its_colour() -> None:
    drawn = draw.draw(np.full((100, 100, 3), 255, np.uint8), MENTIONS)
    assert drawn.note == ""
    colours = {tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in draw.COLOURS[:2]}
    seen = {tuple(pixel) for pixel in np.asarray(drawn.image).reshape(-1, 3)}
    assert colours <= seen
    assert (np.asarray(drawn.image)[-1, -1] == 255).all()


def test_boxes_at_and_over_the_edge_do_not_crash() -> None:
    long = "a very long phrase that is wider than the whole image could ever be, " * 3
    mention = Mention(long, (0, 1), ((0, 0, 5, 3), (3, 3, 3, 3)), (1.0, 1.0))
    for size in ((1, 1), (5, 3), (3000, 2)):
        assert draw.draw(Image.new("RGB", size), [mention]).image.size[0] >= size[0]


def test_without_a_font_for_the_script_labels_are_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: object, **options: object) -> None:
        raise OSError("cannot open resource")

    default = ImageFont.load_default(20)  # made before fonts are taken away
    monkeypatch.setattr(ImageFont, "truetype", none)
    monkeypatch.setattr(ImageFont, "load_default", lambda size: default)
    mention = Mention("一只狗", (0, 3), ((5, 5, 50, 50),), (0.9,))
    drawn = draw.draw(Image.new("RGB", (100, 100)), [mention])
    assert "1 = 一只狗" in drawn.note
    assert draw.draw(Image.new("RGB", (100, 100)), MENTIONS).note == ""


@pytest.mark.parametrize("label", ["หมา", "कुत्ता", "كلب", "🐶", "狗 หมา"])
def test_scripts_that_no_font_here_covers_get_numbers(label: str) -> None:
    mention = Mention(label, (0, len(label)), ((5, 5, 50, 50),), (0.9,))
    assert f"1 = {label}" in draw.draw(Image.new("RGB", (100, 100)), [mention]).note


@pytest.mark.parametrize("label", ["ein “Würfel” – č", "σκύλος", "собака"])
def test_european_scripts_are_written_out(label: str) -> None:
    mention = Mention(label, (0, len(label)), ((5, 5, 50, 50),), (0.9,))
    assert draw.draw(Image.new("RGB", (100, 100)), [mention]).note == ""


def test_labels_of_one_place_do_not_hide_each_other() -> None:
    blank = Image.new("RGB", (448, 448), "gray")
    box = ((100, 100, 200, 200),)
    mentions = [Mention("a dog", (0, 5), box, (1.0,)), Mention("a cat", (0, 5), box, (1.0,))]
    alone = [draw.draw(blank, [mention]).image for mention in mentions]
    both = np.asarray(draw.draw(blank, mentions).image)
    colour = np.array([int(draw.COLOURS[0][i : i + 2], 16) for i in (1, 3, 5)])
    first_tag = (np.asarray(alone[0])[60:100] == colour).all(-1).sum()
    assert first_tag > 100
    assert (both[60:100] == colour).all(-1).sum() == first_tag


def test_a_note_on_an_image_is_said_and_in_the_json(
    tiny_bundle_made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.jpg"
    Image.new("RGB", (40, 30), (200, 30, 30)).save(cut)
    cut.write_bytes(cut.read_bytes()[:-2])
    command = ["caption", str(cut), "--bundle", str(tiny_bundle_made), "--json", "-"]
    assert main(command) == 0
    output = capsys.readouterr()
    (row,) = json.loads(output.out)
    assert row["notes"] == ["the marker at its end is missing; every pixel was there"]
    assert f"edgecap: {cut}: {row['notes'][0]}" in output.err
