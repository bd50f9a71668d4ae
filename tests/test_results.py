"""Files that commands write: an older one keeps its place until the new one is complete."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from edgecap.cli._image import save_image
from edgecap.cli._output import check_destinations, write_json, write_text
from edgecap.core import atomic
from edgecap.core.errors import InputError
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model import weights
from edgecap.reference.model.captioner import CaptionModel


def save_weights(path: Path) -> None:
    torch.manual_seed(0)
    tiny = CaptionerConfig(width=16, layers=1, heads=1, embedding=4, vocabulary=64)
    weights.save(CaptionModel(tiny), path, {"steps": 1})


WRITERS: dict[str, Callable[[Path], None]] = {
    "page.html": lambda path: write_text("<p>né</p>", str(path)),
    "figures.json": lambda path: write_json({"exact": 1}, str(path)),
    "drawn.png": lambda path: save_image(Image.new("RGB", (8, 8), "red"), path),
    "drawn.JPG": lambda path: save_image(Image.new("RGB", (8, 8), "red"), path),
    "tiny.safetensors": save_weights,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_replaced_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("old" * 10_000)
    WRITERS[name](path)
    size = path.stat().st_size
    assert b"oldold" not in path.read_bytes()
    path.unlink()
    WRITERS[name](path)
    assert path.stat().st_size == size  # metadata of weights comes in any order
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / name
    path.write_text("old")
    monkeypatch.setattr(atomic, "_sync", full)
    with pytest.raises(InputError, match="No space left on device") as caught:
        WRITERS[name](path)
    assert caught.value.code == "output.unwritable"
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [name]


def test_what_comes_out_can_be_read(tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        write(tmp_path / name)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "<p>né</p>"
    for name, format_ in (("drawn.png", "PNG"), ("drawn.JPG", "JPEG")):
        with Image.open(tmp_path / name) as image:
            assert (image.format, image.getpixel((0, 0))[0] > 250) == (format_, True)
    assert weights.facts(tmp_path / "tiny.safetensors") == {"steps": 1}


def test_a_image_that_its_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "drawn.jpg"
    path.write_text("old")
    with pytest.raises(InputError, match="cannot write mode RGBA as JPEG"):
        save_image(Image.new("RGBA", (8, 8)), path)
    assert path.read_text() == "old"


def test_a_link_is_followed_and_a_pipe_written_to(tmp_path: Path) -> None:
    real, link, pipe = (tmp_path / name for name in ("real", "link", "pipe"))
    real.write_text("old")
    link.symlink_to("real")
    check_destinations(str(link))
    write_text("new", str(link))
    assert link.is_symlink() and real.read_text() == "new"
    os.mkfifo(pipe)
    check_destinations(str(pipe))
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write_text("told", str(pipe))
    reader.join(10)
    assert read == ["told"] and pipe.is_fifo()


def test_a_place_that_cannot_take_the_new_file_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that may be written lies in a folder that may not; root may write anywhere."""
    path = tmp_path / "figures.json"
    path.touch()
    for locked in (tmp_path, path):
        monkeypatch.setattr(os, "access", lambda place, _, locked=locked: Path(place) != locked)
        with pytest.raises(InputError) as caught:
            check_destinations(str(path))
        assert caught.value.code == "output.unwritable"
