"""index, search and classify from the command line, on a real ONNX bundle."""

import json
import shutil
from pathlib import Path

import numpy as np
import oracle
import pytest
from PIL import Image
from tiny_onnx import image, images, write_bundle

from edgecap.apps.retrieval import Hit
from edgecap.apps.retrieval.classify import ZeroShotClassifier
from edgecap.apps.retrieval.sheet import GAP, TILE, contact_sheet
from edgecap.cli.app import main
from edgecap.core.errors import InputError
from edgecap.models.loading import load
from edgecap.reference.scenes.graph import Name, Thing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return images(tmp_path / "images", 6)


@pytest.fixture
def index(folder: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = folder.parent / "index"
    assert main(["index", str(folder), "-o", str(out), "--bundle", str(tiny_bundle_made)]) == 0
    assert capsys.readouterr().out == f"{out}: 6 images (6 embedded)\n"
    return out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("edgecap: [")
    return err


def test_the_index_remembers_its_model(
    index: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither command is told the bundle again."""
    (folder / "6.png").write_bytes(image(6, 20, 20))
    assert main(["index", str(folder), "-o", str(index), "--json", "-"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert (output["images"], output["embedded"], output["unchanged"]) == (7, 1, 6)
    assert main(["search", str(index), "a dog", "-k", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["rank", "1", "2", "3"]


def test_a_image_finds_itself(
    index: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    command = ["search", str(index), str(folder / "4.png"), "--json", "-", "--sheet", str(sheet)]
    assert main(command) == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert hits[0]["image"] == str(folder / "4.png")
    assert hits[0]["score"] == pytest.approx(1, abs=1e-5)
    with Image.open(sheet) as drawn:
        assert drawn.width == 5 * (TILE + GAP) + GAP


def test_unreadable_images_are_told_and_the_others_kept(
    folder: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.png").write_bytes(b"no image")
    out = folder.parent / "index"
    command = ["index", str(folder), "-o", str(out), "-b", str(tiny_bundle_made), "--json", "-"]
    assert main(command) == 2
    captured = capsys.readouterr()
    output = json.loads(captured.out)
    assert output["images"] == 6
    assert output["failures"][0]["error"]["code"] == "image.unreadable"
    assert captured.err.count("\n") == 1 and "] bad.png is not an image" in captured.err
    assert main(["search", str(out), "a dog"]) == 0


@pytest.mark.parametrize(
    ("suffix", "code"), [("", "bundle.missing"), (".safetensors", "weights.missing")]
)
def test_a_model_that_has_moved_is_to_be_named(
    index: Path,
    folder: Path,
    tiny_bundle: Path,
    suffix: str,
    code: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = str(tiny_bundle) + "-before" + suffix
    manifest = json.loads((index / "index.json").read_text())
    manifest["model"]["source"] = gone
    (index / "index.json").write_text(json.dumps(manifest))
    for verb in (["search", index, "a dog"], ["index", folder, "-o", index]):
        line = refused(capsys, *verb)
        assert f"[{code}]" in line and gone in line and line.endswith("--bundle PATH\n")
        assert main([*map(str, verb), "--bundle", str(tiny_bundle)]) == 0


def test_a_text_longer_than_a_file_name_may_be(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "triangle " * 34  # 306 characters and 34 tokens or so
    assert main(["search", str(index), text, "-k", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3  # a heading and two


def test_searches_that_cannot_be(
    index: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other-onnx-fp32"
    write_bundle(other, seed=5, verified=False)
    for arguments, code in (
        ([tmp_path / "absent", "a dog"], "index.missing"),
        ([folder, "a dog"], "index.foreign"),
        ([index, "a dog", "--bundle", other], "index.other_model"),
        ([index, "a dog", "-k", 0], "search.number"),
        ([index, ""], "text.empty"),
        ([index, "빨간 원"], "text.no_words"),
        ([index, "🐶"], "text.no_words"),
        ([index, "dog " * 300], "text.too_long"),
        ([index, "a\0dog" * 60], "text.too_long"),
        ([index, "absent.png"], "image.missing"),
        ([index, "a dog", "--sheet", "x.exe"], "draw.format"),
        ([index, "a dog", "--sheet", "x.png", "-k", 201], "sheet.number"),
        ([index, "a dog", "--sheet", "no/such/x.png"], "output.unwritable"),
        ([index, folder / "0.png", "--sheet", folder / "0.png"], "draw.overwrites"),
    ):
        assert f"[{code}]" in refused(capsys, "search", *arguments)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    assert "[image.unreadable]" in refused(capsys, "search", index, bad)
    file = next(index.glob("vectors-*"))
    file.write_bytes(file.read_bytes()[:-4])
    assert "[index.truncated]" in refused(capsys, "search", index, "a dog")
    assert "[index.truncated]" in refused(capsys, "index", folder, "-o", index)
    shutil.rmtree(folder)
    folder.mkdir()
    assert "[index.empty]" in refused(capsys, "index", folder, "-o", tmp_path / "x", "-b", other)


def test_a_sheet_says_what_has_gone(tmp_path: Path) -> None:
    red = tmp_path / "red.png"
    Image.new("RGB", (300, 100), "red").save(red)
    hits = [Hit(1, red, 0.9), Hit(2, tmp_path / "gone.png", 0.8)]
    sheet = np.asarray(contact_sheet("a red image", True, hits))
    share = (sheet == (255, 0, 0)).all(-1).sum() / TILE**2
    assert 0.3 < share < 0.36  # the whole of it, a third as high as wide
    assert contact_sheet(red, False, hits).height > sheet.shape[0]
    empty = contact_sheet("a", True, [])
    assert empty.width > TILE and empty.height > 0


def test_a_label_may_name_one_thing_of_several() -> None:
    box = (88.0, 8.0, 128.0, 48.0)
    things = (
        Thing(Name("square", "red"), (8.0, 100.0, 48.0, 140.0)),
        Thing(Name("square", "red"), (168.0, 100.0, 208.0, 140.0)),
        Thing(Name("circle", "blue"), (88.0, 100.0, 128.0, 140.0)),
        Thing(Name("star", "green"), box),
    )
    captioner, labels = oracle.captioner(things), ["a red and a blue one", "a green star"]
    # Twice as wide: boxes are px of the image that was given.
    shown = Image.fromarray(oracle.image(things)).resize((448, 448), Image.Resampling.NEAREST)
    (ranked,) = ZeroShotClassifier(captioner, labels).rank([shown])
    assert [one.label for one in ranked] == ["a green star", "a red and a blue one"]
    assert ranked[0].boxes == (tuple(2 * edge for edge in box),) and ranked[0].score > 0.99
    assert ranked[1].boxes == ()  # of the whole image: no thing is both
    (ranked,) = ZeroShotClassifier(captioner, labels, whole=True).rank([shown])
    assert [one.label for one in ranked] == labels and ranked[1].boxes == ()
    squares = ["two red squares", "a blue circle"]
    (ranked,) = ZeroShotClassifier(captioner, squares).rank([shown])
    groups = {one.label: len(one.boxes) for one in ranked}
    assert groups == {"two red squares": 2, "a blue circle": 1}  # a group is one thing


def test_a_image_of_one_thing_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    thing = Thing(Name("star", "green"), (88.0, 8.0, 128.0, 48.0))
    captioner, views = oracle.captioner([thing]), []
    embed = captioner.embed_images
    monkeypatch.setattr(
        captioner, "embed_images", lambda images: views.extend(images) or embed(images)
    )
    (ranked,) = ZeroShotClassifier(captioner, ["a red star", "a green star"]).rank(
        [oracle.image([thing])]
    )
    assert len(views) == 1 and ranked[0].label == "a green star" and ranked[0].boxes == ()


def test_classify_ranks_by_the_cosine(
    folder: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ["a dog", "a red circle", "an owl"]
    captioner = load(tiny_bundle_made)
    expected = captioner.embed_images([folder / "0.png"]) @ captioner.embed_texts(labels).T
    command = ["classify", str(folder / "0.png"), "--bundle", str(tiny_bundle_made), "--whole"]
    assert main([*command, "--labels", " a dog,a red circle , an owl,", "--json", "-"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    scores = {one["label"]: one["score"] for one in row["labels"]}
    assert scores == pytest.approx(dict(zip(labels, expected[0].tolist(), strict=True)), abs=1e-6)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    file = folder / "labels.txt"
    file.write_text("a dog\n\nan owl\n", encoding="utf-8")
    assert main([*command, "--labels-file", str(file)]) == 0
    assert "an owl" in capsys.readouterr().out


def test_a_directory_is_classified_in_order(
    folder: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "below").mkdir()
    (folder / "0.png").rename(folder / "below" / "0.PNG")
    (folder / ".hidden.png").write_bytes(b"not looked at")
    command = ["classify", str(folder), "--labels", "a dog,an owl", "-b", str(tiny_bundle_made)]
    assert main([*command, "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)
    names = [Path(row["image"]).relative_to(folder).as_posix() for row in rows]
    assert names == ["1.png", "2.png", "3.png", "4.png", "5.png", "below/0.PNG"]


def test_equal_labels_keep_their_order(tiny_bundle_made: Path, folder: Path) -> None:
    captioner = load(tiny_bundle_made)
    captioner.embed_texts = lambda texts: np.ones((len(texts), 4), np.float32) / 2  # type: ignore[method-assign]
    chooser = ZeroShotClassifier(captioner, ["b", "a", "c"])
    assert [choice.label for choice in chooser.rank([folder / "0.png"])[0]] == ["b", "a", "c"]


def test_a_bad_image_among_good_ones(
    folder: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = str(folder / "0.png"), str(folder / "absent.png")
    command = ["classify", good, bad, "--labels", "a,b", "-b", str(tiny_bundle_made), "--json", "-"]
    assert main(command) == 2
    captured = capsys.readouterr()
    assert ["labels" in row for row in json.loads(captured.out)] == [True, False]
    assert captured.err.count("\n") == 1
    assert main([*command, good, "--on-error", "fail"]) == 2  # after what was ranked before it
    captured = capsys.readouterr()
    assert [row["image"] for row in json.loads(captured.out)] == [good]
    assert captured.err.startswith("edgecap: [image.missing]") and captured.err.count("\n") == 1
    assert "[on_error.unknown]" in refused(capsys, *command, "--on-error", "hope")


def test_a_folder_is_ranked_in_batches_and_like_single_images(
    folder: Path, tiny_bundle_made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = load(tiny_bundle_made)
    chooser = ZeroShotClassifier(captioner, ["a dog", "an owl"])
    files = [*sorted(folder.glob("*.png")), folder / "absent.png", *sorted(folder.glob("*.png"))]
    captioned: list[int] = []
    caption = captioner.caption
    monkeypatch.setattr(
        captioner,
        "caption",
        lambda images, lang: captioned.append(len(images)) or caption(images, lang),
    )
    many = list(chooser.rank_many(files))
    assert captioned == [7, 5]  # of eight and five, one of them no image
    assert isinstance(many[6], InputError) and many[6].code == "image.missing"
    for file, ranked in zip(files, many, strict=True):
        if not isinstance(ranked, InputError):
            (alone,) = chooser.rank([file])
            assert [one.label for one in ranked] == [one.label for one in alone]
            assert [one.score for one in ranked] == pytest.approx([one.score for one in alone])


def test_labels_of_a_file_with_a_byte_order_mark(
    folder: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "labels.txt"
    file.write_text("a dog\na cat\n", encoding="utf-8-sig")
    command = ["classify", str(folder / "0.png"), "--bundle", str(tiny_bundle_made), "--json", "-"]
    assert main([*command, "--labels-file", str(file)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert {label["label"] for label in row["labels"]} == {"a dog", "a cat"}


def test_labels_that_cannot_be(
    folder: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    binary = folder / "labels.bin"
    binary.write_bytes(b"\xff\xfe\x00")
    for options, code in (
        ([], "labels.source"),
        (["--labels", "a", "--labels-file", binary], "labels.source"),
        (["--labels", "a dog"], "labels.number"),
        (["--labels", ",,"], "labels.number"),
        (["--labels", "a dog,a dog"], "labels.twice"),
        (["--labels", "a dog,빨간"], "text.no_words"),
        (["--labels-file", binary], "labels.file"),
        (["--labels-file", folder / "absent"], "labels.file"),
    ):
        command = ["classify", folder / "0.png", "-b", tiny_bundle_made, *options]
        assert f"[{code}]" in refused(capsys, *command)
