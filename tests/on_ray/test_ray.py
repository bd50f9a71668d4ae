"""Captions and indexes on a local Ray cluster of two workers: as with one process, also when one is
killed in the middle. Needs Ray: `make check-ray` makes an environment for it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from tiny_onnx import images

from edgecap.apps import ray_engine
from edgecap.apps.retrieval import store
from edgecap.apps.retrieval.build import update
from edgecap.cli.app import main
from edgecap.runtime import load

COUNT = 40
# Ray warns of its own settings, and leaves sockets to the collector.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    yield
    ray.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """COUNT images, one of which is none."""
    made = images(tmp_path / "images", COUNT)
    (made / "7.png").write_bytes(b"no image")
    return made


def workers() -> list[int]:
    """The process ids of this cluster's workers that hold a bundle."""
    found = []
    for each in Path("/proc").iterdir():
        if not each.name.isdigit():
            continue
        try:
            title = (each / "cmdline").read_bytes()
            parent = int((each / "stat").read_text().rsplit(")", 1)[1].split()[1])
            grandparent = int(Path(f"/proc/{parent}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
        if title.startswith(b"ray::MapWorker") and grandparent == os.getpid():
            found.append(int(each.name))
    return found


def test_rows_are_those_of_one_process_in_its_order(tiny_bundle_made: Path, folder: Path) -> None:
    files = sorted(folder.iterdir())
    rows = list(ray_engine.captions(files, tiny_bundle_made, workers=2, batch=4, lang="de"))
    assert [row["image"] for row in rows] == [str(file) for file in files]
    expected = load(tiny_bundle_made).caption_many(files, lang="de", on_error="skip")
    for row, one in zip(rows, expected, strict=True):
        if "error" in row:
            assert row["error"]["code"] == one.code  # type: ignore[union-attr]
        else:
            assert (row["text"], tuple(row["tokens"])) == (one.text, one.tokens)  # type: ignore[union-attr]
    assert sum("error" in row for row in rows) == 1


def test_a_killed_worker_loses_nothing_and_nothing_comes_twice(
    tiny_bundle_made: Path, folder: Path
) -> None:
    files = sorted(folder.iterdir()) * 40
    rows = ray_engine.captions(files, tiny_bundle_made, workers=2, batch=4)
    names = [next(rows)["image"]]
    victim = workers()[0]
    os.kill(victim, signal.SIGKILL)
    names += [row["image"] for row in rows]
    assert victim not in workers()
    assert names == [str(file) for file in files]


def test_the_command_resumes_and_writes_what_one_process_writes(
    tiny_bundle_made: Path, folder: Path, tmp_path: Path
) -> None:
    alone, spread = tmp_path / "alone.jsonl", tmp_path / "spread.jsonl"
    command = ["caption", str(folder), "--bundle", str(tiny_bundle_made)]
    assert main([*command, "--resume", "--jsonl", str(alone)]) == 2  # one image is none
    kept = alone.read_text().splitlines(keepends=True)
    spread.write_text("".join(kept[:11]) + kept[11][:9])  # what a kill may leave
    assert main([*command, "--resume", "--engine", "ray", "--jsonl", str(spread)]) == 2
    assert rows_by_image(spread) == rows_by_image(alone)


def rows_by_image(file: Path) -> dict[str, Any]:
    """The rows of a file, each image once."""
    rows = [json.loads(line) for line in file.open()]
    found = {row["image"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def test_parquet_holds_a_row_per_image(
    tiny_bundle_made: Path, folder: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as parquet

    out = tmp_path / "rows"
    command = ["caption", str(folder), "--bundle", str(tiny_bundle_made), "--parquet", str(out)]
    assert main([*command, "--engine", "ray"]) == 2
    table = parquet.read_table(out)
    assert table.num_rows == COUNT and len(set(table["image"].to_pylist())) == COUNT
    assert [code for code in table["error"].to_pylist() if code] == ["image.unreadable"]
    assert main([*command, "--engine", "ray"]) == 2  # not without --resume
    assert main([*command, "--engine", "ray", "--resume"]) == 2  # still unreadable, and still once
    assert parquet.read_table(out).num_rows == COUNT
    shutil.copy(folder / "1.png", folder / "7.png")
    assert main([*command, "--engine", "ray", "--resume"]) == 0
    table = parquet.read_table(out)
    assert table.num_rows == COUNT and table["error"].null_count == COUNT


def test_an_index_made_on_ray_is_that_of_one_process(
    tiny_bundle_made: Path, folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / "7.png", folder / "copy-of-7.png")
    shutil.copy(folder / "1.png", folder / "copy-of-1.png")
    alone, spread = tmp_path / "alone", tmp_path / "spread"
    here = update(folder, alone, load(tiny_bundle_made), str(tiny_bundle_made))
    command = ["index", str(folder), "-o", str(spread), "--bundle", str(tiny_bundle_made)]
    assert main([*command, "--engine", "ray"]) == 2
    one, other = store.read(alone), store.read(spread)
    assert [e.path for e in one.entries] == [e.path for e in other.entries]
    assert [e.things for e in one.entries] == [e.things for e in other.entries]
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-6)
    assert len(here.failures) == 2
    assert main([*command, "--engine", "ray"]) == 2  # nothing new: the unreadable ones again


def test_what_one_process_refuses_is_refused_before_any_work(
    tiny_bundle_made: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    command = ["caption", str(folder), "--bundle", str(tiny_bundle_made), "--engine", "ray"]
    for extra, code in (
        (["--jsonl", "x.jsonl", "--lang", "xx"], "language"),
        (["--min-confidence", "auto", "--jsonl", "x.jsonl"], "confidence.none"),
        (["--json", "-"], "caption.library"),
        ([], "caption.library"),
    ):
        assert main([*command, *extra]) == 2
        assert f"[{code}" in capsys.readouterr().err
    assert not Path("x.jsonl").exists() and time.monotonic() - begun < 60
