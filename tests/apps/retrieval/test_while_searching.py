"""An index that changes while others search it: each search sees one whole state, old or new."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tiny_onnx import image, images

from edgecap.apps.retrieval import Index, build, open_index, update
from edgecap.apps.retrieval.manifest import MANIFEST, PENDING
from edgecap.core.errors import InputError
from edgecap.runtime import Captioner

ROUNDS = 5


@contextmanager
def searching(search: Callable[[], None]) -> Iterator[list[Exception]]:
    """Two threads that search until the end of the block; yields the errors they met."""
    done, failures = threading.Event(), []

    def repeat() -> None:
        while not done.is_set() and not failures:
            try:
                search()
            except Exception as error:  # what a user of the index would see
                failures.append(error)

    searchers = [threading.Thread(target=repeat) for _ in range(2)]
    for thread in searchers:
        thread.start()
    try:
        yield failures
    finally:
        done.set()
        for thread in searchers:
            thread.join()


def names(index: Index, captioner: Captioner) -> frozenset[str]:
    """The images that a search finds, all of them."""
    (query,) = captioner.embed_texts(["a dog"])
    return frozenset(hit.path.name for hit in index.search(query, 100))


@pytest.mark.parametrize("exact_rows", [3, 1000], ids=["graph", "exact"])
def test_searches_see_the_old_or_the_new_index(
    captioner: Captioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exact_rows: int
) -> None:
    monkeypatch.setattr(build, "EXACT_ROWS", exact_rows)
    monkeypatch.setattr(build, "CHECKPOINT", 1)  # as often as can be
    monkeypatch.setattr(build, "BATCH", 1)
    folder, out = images(tmp_path / "images", 4), tmp_path / "index"
    update(folder, out, captioner, "tiny", whole=True)
    kept, query = open_index(out), captioner.embed_images([folder / "3.png"])[0]
    seen: list[frozenset[str]] = []

    def search() -> None:
        hits = open_index(out).search(query, 100)
        assert hits[0].path.name == "3.png" and hits[0].score > 0.999  # stays all the time
        assert {hit.path.name for hit in kept.search(query, 100)} == states[0]
        seen.append(frozenset(hit.path.name for hit in hits))

    states = [frozenset(f"{i}.png" for i in range(4))]
    with searching(search) as failures:
        for i in range(ROUNDS):
            for part in "ab":
                (folder / f"{part}{i}.png").write_bytes(image(100 + 2 * i + ord(part), 40, 30))
            (folder / (f"{i}.png" if i < 3 else f"a{i - 3}.png")).unlink()
            update(folder, out, captioner, "tiny")
            states.append(frozenset(file.name for file in folder.iterdir()))
            count = len(seen)
            while len(seen) < count + 3 and not failures:  # each state is seen
                threading.Event().wait(0.01)
    assert failures == []
    assert set(seen) == set(states)


def test_a_reader_goes_on_with_what_it_opened_until_it_is_refreshed(
    folder: Path, captioner: Captioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "EXACT_ROWS", 3)
    out = tmp_path / "index"
    update(folder, out, captioner, "tiny")
    opened = open_index(out)  # and not searched yet: its graph must be there already
    (folder / "0.png").unlink()
    (folder / "new.png").write_bytes(image(50, 40, 30))
    update(folder, out, captioner, "tiny", overwrite=True)
    assert {"0.png"} == names(opened, captioner) - names(opened.refreshed(), captioner)
    assert "new.png" in names(opened.refreshed(), captioner) - names(opened, captioner)
    fresh = opened.refreshed()
    assert fresh.refreshed() is fresh


# A writer in a process of its own that says when it has saved a part, and then waits.
STOPPED = """
import sys, time
from edgecap.apps.retrieval import build, store
from edgecap.runtime import load

build.CHECKPOINT = build.BATCH = 1
append = store.append

def told(*given):
    saved = append(*given)
    print("saved", flush=True)
    return saved

store.append = told
bundle, folder, out = sys.argv[1:]

def elsewhere(files, whole):
    for file in files:
        if file != files[0]:
            time.sleep(600)
        yield {"vectors": captioner.embed_images([file]), "things": []}

captioner = load(bundle)
build.update(folder, out, captioner, "tiny", embed=elsewhere)
"""


def test_a_writer_killed_in_the_middle_changes_nothing_for_searches(
    tiny_bundle_made: Path, folder: Path, made: Path, captioner: Captioner
) -> None:
    before = names(open_index(made), captioner)
    (folder / "0.png").unlink()
    for i in range(3):
        (folder / f"new{i}.png").write_bytes(image(50 + i, 40, 30))
    seen = set()
    writer = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(tiny_bundle_made), str(folder), str(made)],
        stdout=subprocess.PIPE,
    )
    assert writer.stdout is not None
    try:
        with searching(lambda: seen.add(names(open_index(made), captioner))) as failures:
            assert writer.stdout.readline() == b"saved\n"
            with pytest.raises(InputError, match="is being written by another run") as busy:
                update(folder, made, captioner, "tiny")
            assert busy.value.code == "index.busy"
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    assert failures == [] and seen == {before}
    assert (made / PENDING).exists() and names(open_index(made), captioner) == before
    summary = update(folder, made, captioner, "tiny")
    assert (summary.images, summary.embedded, summary.removed) == (9, 2, 1)  # one was saved
    assert names(open_index(made), captioner) == {
        *before - {"0.png"},
        "new0.png",
        "new1.png",
        "new2.png",
    }
    assert len(list(made.iterdir())) == 3


def test_what_a_stopped_update_saved_is_used_only_where_it_belongs(
    folder: Path, made: Path, captioner: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "CHECKPOINT", 1)

    def stopped(overwrite: bool) -> None:
        with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
            killed.setattr(
                build._Run, "_finish", lambda run: (_ for _ in ()).throw(KeyboardInterrupt)
            )
            update(folder, made, captioner, "tiny", overwrite=overwrite)

    (folder / "new.png").write_bytes(image(50, 40, 30))
    stopped(overwrite=False)
    (made / PENDING).write_bytes((made / PENDING).read_bytes()[:99])
    assert update(folder, made, captioner, "tiny").embedded == 1  # damaged: embedded again
    stopped(overwrite=True)  # of all images, and of another index than that which is there
    assert len(open_index(made)) == 8
    assert update(folder, made, captioner, "tiny").unchanged == 8
    (folder / "newer.png").write_bytes(image(51, 40, 30))
    stopped(overwrite=False)
    assert update(folder, made, captioner, "tiny").embedded == 0
    assert len(open_index(made)) == 9
    assert sorted(file.name[:7] for file in made.iterdir()) == ["entries", MANIFEST[:7], "vectors"]
