"""An index that changes while others search it: each search sees one whole state, old or new."""

from __future__ import annotations

import threading
from pathlib import Path

from tiny_onnx import image

from edgecap.apps.retrieval import open_index, update
from edgecap.runtime import load

ROUNDS = 6


def test_searches_see_whole_states_while_the_index_is_updated(
    tiny_bundle_made: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "images", tmp_path / "index"
    folder.mkdir()
    for i in range(4):
        (folder / f"{i}.png").write_bytes(image(i, 40, 30))
    captioner = load(tiny_bundle_made)
    update(folder, out, captioner, str(tiny_bundle_made), whole=True)
    query = captioner.embed_images([folder / "3.png"])[0]  # stays in the index all the time
    kept = open_index(out)  # opened once, before all changes
    seen: list[frozenset[str]] = []
    failures: list[Exception] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            try:
                hits = open_index(out).search(query, 100)
                assert hits[0].path.name == "3.png" and hits[0].score > 0.999
                assert [hit.path.name for hit in kept.search(query, 1)] == ["3.png"]
                seen.append(frozenset(hit.path.name for hit in hits))
            except Exception as error:  # what a user of the index would see
                failures.append(error)

    states = [frozenset(f"{i}.png" for i in range(4))]
    searchers = [threading.Thread(target=search) for _ in range(2)]
    for thread in searchers:
        thread.start()
    try:
        for i in range(ROUNDS):
            (folder / f"new-{i}.png").write_bytes(image(100 + i, 40, 30))
            (folder / (f"{i}.png" if i < 3 else f"new-{i - 3}.png")).unlink()
            update(folder, out, captioner, str(tiny_bundle_made), whole=True)
            states.append(frozenset(file.name for file in folder.iterdir()))
            # A searcher sees each state at least once, so that none is passed over.
            count = len(seen)
            while len(seen) < count + 3 and not failures:
                done.wait(0.01)
    finally:
        done.set()
        for thread in searchers:
            thread.join()
    assert failures == []
    # Between deleting and rewriting, a checkpoint holds new images beside old ones: a union.
    whole = set(states) | {a | b for a, b in zip(states, states[1:], strict=False)}
    assert set(seen) <= whole and states[-1] in seen
