"""What a folder holds, and what is said to have been passed over."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from edgecap.core.errors import InputError
from edgecap.runtime.folders import images, scan, walk


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG")
    return file.getvalue()


def make(folder: Path, *names: str, data: bytes = b"") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_what_is_passed_over_is_told(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "b/c.JPG", "report.pdf", "old.PDF", "clip.mp4", "notes", "movie.mov")
    (tmp_path / "gone.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    found = scan(tmp_path)
    assert found.images == ["a.png", "b/c.JPG"]
    assert found.summary() == (
        "7 passed over: 2 .pdf, 2 videos, 1 device or pipe, 1 link that leads nowhere, 1 other file"
    )


def test_nothing_is_told_where_nothing_was(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    assert scan(tmp_path).summary() == ""


def test_thumbnails_bins_and_hidden_things_are_not_even_counted(tmp_path: Path) -> None:
    make(
        tmp_path,
        "a.png",
        "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg",
        "b/@eaDir/x.jpg",
        "#recycle/x.jpg",
        "__MACOSX/x.jpg",
        ".cache/x.jpg",
        "._a.png",
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "Icon\r",
        "#snapshot/daily/a.png",
        "@Recycle/x.jpg",
        "a.png:Zone.Identifier",
    )
    found = scan(tmp_path)
    assert (found.images, found.passed) == (["a.png"], {})


def test_folders_that_galleries_leave_out(tmp_path: Path) -> None:
    make(tmp_path, ".nomedia", "a.png", "b/.nomedia", "b/x.png", "b/c/y.png", "d/z.png")
    found = scan(tmp_path)  # the folder that was asked for is walked
    assert found.images == ["a.png", "d/z.png"]
    assert found.summary() == "1 passed over: 1 folder marked .nomedia"


def test_files_without_an_ending_are_looked_into(tmp_path: Path) -> None:
    make(tmp_path, "IMG_0001", "b/9f86d081", data=png())
    make(tmp_path, "Makefile", data=b"all:\n")
    found = scan(tmp_path)
    assert (found.images, found.passed) == (["IMG_0001", "b/9f86d081"], {"other file": 1})


def test_links_are_followed_once(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    make(outside, "far/x.png", "one.png")
    make(inside, "a.png", "b/c.png")
    for name, target in (
        ("0.png", "a.png"),  # before what it leads to
        ("again", "b"),
        ("far", "../outside/far"),
        ("far2", "../outside/far"),
        ("b/up", ".."),
        ("one.png", "../outside/one.png"),
        ("two.png", "../outside/one.png"),
        ("loop", "loop"),
    ):
        (inside / name).symlink_to(target)
    found = scan(inside)
    assert found.images == ["a.png", "b/c.png", "far/x.png", "one.png"]
    assert found.passed == {"link": 5, "link that leads nowhere": 1}
    assert found.summary() == "6 passed over: 5 links, 1 link that leads nowhere"


def test_a_link_to_a_folder_above_ends(tmp_path: Path) -> None:
    make(tmp_path, "photos/a.png", "b.png")
    (tmp_path / "photos" / "all").symlink_to("..")
    assert walk(tmp_path / "photos") == ["a.png", "all/b.png"]


def test_photographs_of_phones_are_found_where_they_can_be_read(tmp_path: Path) -> None:
    make(tmp_path, "a.heic", "b.HEIF", "c.png")
    assert walk(tmp_path) == ["a.heic", "b.HEIF", "c.png"]
    code = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "from pathlib import Path\n"
        "from edgecap.runtime import folders\n"
        "folders.find_spec = lambda name: None\n"
        f"print(folders.scan(Path({str(tmp_path)!r})).summary())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "2 passed over: 2 HEIC (HEIC: pip install 'edgecap[heic]')\n", done.stderr


def test_a_folder_with_nothing_in_it_says_what_was_there(tmp_path: Path) -> None:
    make(tmp_path, "a.pdf")
    with pytest.raises(InputError, match=r"holds no image; 1 passed over: 1 \.pdf\."):
        images(tmp_path, tmp_path / "index")


def test_below_skip_nothing_is_taken(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "index/sheet.png")
    assert walk(tmp_path, tmp_path / "index") == ["a.png"]
