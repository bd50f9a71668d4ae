"""An index follows its folder and survives a kill. On a real ONNX bundle."""

import inspect
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import refusal
from tiny_onnx import image, images, write_bundle

from edgecap.apps.retrieval import Summary, build, open_index, probes, store, update
from edgecap.apps.retrieval.manifest import MANIFEST, IndexManifest
from edgecap.core.errors import InputError, MissingPackageError
from edgecap.models.loading import load
from edgecap.runtime import Captioner
from edgecap.runtime.folders import walk


def counts(summary: Summary) -> tuple[int, int, int, int, int]:
    """Images, embedded, reused, unchanged, removed."""
    s = summary
    return s.images, s.embedded, s.reused, s.unchanged, s.removed


def found(index: Path, vector: np.ndarray, k: int = 100) -> dict[str, float]:
    opened = open_index(index)
    top = Path(opened.manifest.folder)
    return {str(hit.path.relative_to(top)): hit.score for hit in opened.search(vector, k)}


def test_every_image_is_found_where_its_embedding_lies(
    folder: Path, made: Path, captioner: Captioner
) -> None:
    names = ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "deep/six.PNG"]
    vectors = captioner.embed_images([folder / name for name in names])  # [7,E]
    hits = open_index(made).search(vectors[3], 7)
    assert [hit.rank for hit in hits] == list(range(1, 8))
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert hits[0].path == folder / "3.png" and hits[0].score == pytest.approx(1, abs=1e-5)
    expected = dict(zip(names, (vectors @ vectors[3]).tolist(), strict=True))
    assert found(made, vectors[3]) == pytest.approx(expected, abs=1e-5)


def test_only_what_changed_is_embedded(folder: Path, made: Path, captioner: Captioner) -> None:
    before = {file.name: file.read_bytes() for file in made.iterdir()}
    assert counts(update(folder, made, captioner, "tiny")) == (7, 0, 0, 7, 0)
    assert {file.name: file.read_bytes() for file in made.iterdir()} == before
    (folder / "0.png").write_bytes(image(10, 64, 30))  # changed
    (folder / "1.png").unlink()  # removed
    (folder / "2.png").rename(folder / "deep" / "two.png")  # renamed
    shutil.copyfile(folder / "3.png", folder / "copy.png")  # copied
    os.utime(folder / "4.png", (1, 1))  # touched
    (folder / "new.png").write_bytes(image(11, 20, 20))
    assert counts(update(folder, made, captioner, "tiny")) == (8, 2, 3, 3, 2)
    fresh = made.parent / "fresh"
    update(folder, fresh, captioner, "tiny")
    query = captioner.embed_texts(["a dog"])[0]
    assert found(made, query) == pytest.approx(found(fresh, query), abs=1e-6)
    assert len(list(made.iterdir())) == 3  # nothing is left of what was replaced


@pytest.mark.parametrize("apart", [1, 9])
def test_twins_that_are_new_are_embedded_once(
    folder: Path, captioner: Captioner, tmp_path: Path, apart: int
) -> None:
    """In one batch of the engine, and in two."""
    for i in range(apart):
        (folder / f"x{i}.png").write_bytes(image(20 + i, 20, 20))
    for name in ("xx.png", "y.png"):
        shutil.copyfile(folder / "x0.png", folder / name)
    made = tmp_path / "index"
    assert counts(update(folder, made, captioner, "tiny"))[1:] == (7 + apart, 2, 0, 0)
    (vector,) = captioner.embed_images([folder / "x0.png"])
    hits = found(made, vector)
    assert len(hits) == 9 + apart
    assert hits["x0.png"] == hits["xx.png"] == hits["y.png"] == pytest.approx(1, abs=1e-5)
    assert counts(update(folder, made, captioner, "tiny"))[1:] == (0, 0, 9 + apart, 0)


def test_a_bad_image_costs_only_itself(folder: Path, made: Path, captioner: Captioner) -> None:
    (folder / "0.png").write_bytes(image(0, 40, 30)[:200])  # was good
    (folder / "bad.jpg").write_bytes(b"this is no image")
    summary = update(folder, made, captioner, "tiny")
    assert counts(summary) == (6, 0, 0, 6, 1)
    assert {f.path: f.error.code for f in summary.failures} == {
        "0.png": "image.truncated",
        "bad.jpg": "image.unreadable",
    }


def test_refused_before_anything_is_written(
    folder: Path, captioner: Captioner, tmp_path: Path
) -> None:
    empty, bad, out = tmp_path / "empty", tmp_path / "bad", tmp_path / "index"
    empty.mkdir(), bad.mkdir()
    (bad / "x.png").write_bytes(b"no")
    for given_folder, code in (
        (empty, "index.empty"),
        (tmp_path / "absent", "index.folder"),
        (folder / "0.png", "index.folder"),
        (bad, "index.unreadable"),
    ):
        assert refusal(lambda where=given_folder: update(where, out, captioner, "x")) == code
        assert not out.exists()
    assert refusal(lambda: update(folder, empty / "../images", captioner, "x")) == "output.foreign"
    assert refusal(lambda: update(folder, bad / "x.png", captioner, "x")) == "output.foreign"


def test_an_emptied_or_other_folder_does_not_cost_the_index(
    folder: Path, made: Path, captioner: Captioner, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    before = (made / MANIFEST).read_bytes()
    assert refusal(lambda: update(other, made, captioner, "tiny")) == "index.other_folder"
    shutil.rmtree(folder)
    folder.mkdir()  # a disk that is not mounted
    assert refusal(lambda: update(folder, made, captioner, "tiny")) == "index.empty"
    assert (made / MANIFEST).read_bytes() == before


def test_an_index_inside_its_folder_does_not_index_itself(
    folder: Path, captioner: Captioner
) -> None:
    inside = folder / "index"
    update(folder, inside, captioner, "tiny")
    (inside / "sheet.png").write_bytes(image(1, 9, 9))
    assert counts(update(folder, inside, captioner, "tiny")) == (7, 0, 0, 7, 0)


def test_links_to_themselves_and_very_deep_folders_are_walked(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "a.png").touch()
    deep = tmp_path / "/".join("d" * 200)
    deep.mkdir(parents=True)
    (deep / "b.png").touch()
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)  # deeper folders outlive pytest's clean-up
    try:
        found = walk(tmp_path)
    finally:
        sys.setrecursionlimit(usual)
    assert found == ["a.png", f"{'d/' * 200}b.png"]


def test_two_runs_at_once(folder: Path, made: Path, captioner: Captioner) -> None:
    with store.locked(made):
        assert refusal(lambda: update(folder, made, captioner, "tiny")) == "index.busy"


def test_other_weights_are_told_apart_and_other_files_of_the_same_are_not(
    folder: Path, made: Path, captioner: Captioner, tmp_path: Path
) -> None:
    other = tmp_path / "other-onnx-fp32"
    write_bundle(other, seed=5, verified=False)
    assert refusal(lambda: open_index(made).check(load(other))) == "index.other_model"
    assert refusal(lambda: update(folder, made, load(other), "x")) == "index.other_model"
    open_index(made).check(captioner)


def test_the_probes_never_change() -> None:
    """Kept in every index ever made: another drawing of them would refuse them all."""
    import hashlib

    drawn = probes.images(224)
    assert drawn.shape == (3, 224, 224, 3) and drawn.dtype == np.uint8
    assert hashlib.sha256(drawn.tobytes()).hexdigest().startswith(PROBES_SHA256)


PROBES_SHA256 = "cee3a6d40e6a8eb8"

KILLED = """
import sys, time
from edgecap.runtime import load
from edgecap.apps.retrieval import build

build.CHECKPOINT = 8
captioner = load(sys.argv[1])
embed = captioner.embed_images

def slow(images):
    time.sleep(0.1)
    return embed(images)

captioner.embed_images = slow
build.update(sys.argv[2], sys.argv[3], captioner, sys.argv[1])
"""


def test_a_killed_run_leaves_an_index_that_is_taken_up(
    tiny_bundle_made: Path, captioner: Captioner, tmp_path: Path
) -> None:
    folder, out = tmp_path / "many", tmp_path / "index"
    folder.mkdir()
    for i in range(200):
        (folder / f"{i:03}.png").write_bytes(image(i, 8, 8))
    code = [sys.executable, "-c", KILLED, str(tiny_bundle_made), str(folder), str(out)]
    run = subprocess.Popen(code)
    deadline = time.monotonic() + 60
    while not (out / MANIFEST).exists() or len(open_index(out)) < 16:
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    saved = len(open_index(out))
    assert 16 <= saved < 200
    query = captioner.embed_texts(["a dog"])[0]
    assert len(found(out, query, 200)) == saved
    (out / "vectors-00000000.f32").write_bytes(b"half")  # as a kill in the middle of a write leaves
    summary = update(folder, out, captioner, "tiny")
    assert counts(summary) == (200, 200 - saved, 0, saved, 0)
    assert len(found(out, query, 200)) == 200
    assert len(list(out.iterdir())) == 3


def test_a_first_run_killed_before_its_first_checkpoint(
    folder: Path, captioner: Captioner, tmp_path: Path
) -> None:
    out = tmp_path / "index"
    out.mkdir()
    for name in ("vectors-0123abcd.f32", ".index.json.draft-0123abcd"):
        (out / name).write_bytes(b"half")
    assert update(folder, out, captioner, "tiny").images == 7
    assert len(list(out.iterdir())) == 3


NEIGHBOURS = (
    "entries-2024.jsonl",
    "vectors-mine.f32",
    "graph-0123abcde.usearch",
    ".notes.md.draft-0123abcd",
)


def test_files_named_almost_like_those_of_an_index_are_kept(
    folder: Path, made: Path, captioner: Captioner, tmp_path: Path
) -> None:
    for name in NEIGHBOURS:
        (made / name).write_text("precious")
    (folder / "0.png").unlink()
    update(folder, made, captioner, "tiny")
    assert all((made / name).read_text() == "precious" for name in NEIGHBOURS)
    for name in NEIGHBOURS:
        other = tmp_path / f"with {name}"
        other.mkdir()
        (other / name).write_text("precious")
        with pytest.raises(InputError, match="is not an index"):
            update(folder, other, captioner, "tiny")
        assert [file.name for file in other.iterdir()] == [name]


def test_a_large_index_asks_its_graph_and_stays_right_as_it_changes(
    tmp_path: Path, captioner: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "EXACT_ROWS", 40)
    folder, out = tmp_path / "many", tmp_path / "index"
    folder.mkdir()
    for i in range(100):
        (folder / f"{i:03}.png").write_bytes(image(i, 8, 8))

    def graph_after_update() -> str:
        update(folder, out, captioner, "tiny")
        index = open_index(out)
        assert index.manifest.graph is not None
        for query in captioner.embed_texts(["a dog", "two red circles"]):
            assert index.search(query, 10) == index.search(query, 10, exact=True)
            assert len(index.search(query, 500)) == len(index)
        return index.manifest.graph.file

    first = graph_after_update()
    for i in range(5):
        (folder / f"{i:03}.png").unlink()
        (folder / f"new-{i}.png").write_bytes(image(1000 + i, 8, 8))
    assert graph_after_update() == first  # the new are few, and compared one by one
    for i in range(41):
        (folder / f"more-{i}.png").write_bytes(image(2000 + i, 8, 8))
    grown = graph_after_update()
    assert grown != first  # many are new, and were added to it
    manifest = open_index(out).manifest
    assert manifest.graph is not None and manifest.graph.rows == manifest.rows + 5
    for i in range(5, 30):
        (folder / f"{i:03}.png").unlink()
    second = graph_after_update()
    assert second != grown  # too much of it was dead
    assert [file.name for file in out.glob("graph-*")] == [second]


def test_a_large_folder_without_usearch_is_refused_at_once(
    folder: Path, captioner: Captioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build.graph, "PACKAGE", ("no_such_package", "search"))
    update(folder, tmp_path / "small", captioner, "tiny", whole=True)
    monkeypatch.setattr(build, "EXACT_ROWS", 7)
    assert update(folder, tmp_path / "small", captioner, "tiny").unchanged == 7  # whole images
    with pytest.raises(MissingPackageError, match=r"edgecap\[search\]"):
        update(folder, tmp_path / "index", captioner, "tiny")
    assert not (tmp_path / "index").exists()


def test_a_folder_that_cannot_be_read_costs_no_other_image(
    folder: Path, tmp_path: Path, captioner: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def scandir(path: str | Path) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    summary = update(folder, tmp_path / "index", captioner, "tiny")
    assert summary.images == 6
    assert [(f.path, f.error.code) for f in summary.failures] == [("deep", "image.missing")]
    with pytest.raises(InputError, match="Permission denied"):
        update(folder / "deep", tmp_path / "other", captioner, "tiny")


def test_checkpoints_grow_with_the_index(
    tmp_path: Path, captioner: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their segments are listed in one file that may not grow without end."""
    saved, append = [], store.append

    def noted(root: Path, manifest: IndexManifest, entries: list, *rest: Any) -> Any:
        saved.append(len(entries))
        return append(root, manifest, entries, *rest)

    monkeypatch.setattr(build, "CHECKPOINT", 8)
    monkeypatch.setattr(build, "_CHECKPOINT_SHARE", 1.0)
    monkeypatch.setattr(store, "append", noted)
    update(images(tmp_path / "many", 64), tmp_path / "index", captioner, "tiny")
    assert saved == [8, 8, 16, 32]
