"""Images by every kind of name: files, folders, patterns, standard input, URLs, videos."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from edgecap.core.errors import InputError, MissingPackageError
from edgecap.runtime.fetch import fetch
from edgecap.runtime.image_files import is_image, load_image
from edgecap.runtime.sources import Sources
from edgecap.runtime.video import Sampling


def png(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(file, "PNG")
    return file.getvalue()


def colour(image: Any) -> tuple[int, ...]:
    return tuple(np.asarray(load_image(image).image.convert("RGB"))[2, 2].tolist())


def names(sources: Sources) -> list[str]:
    return [item.name for item in sources]


def refusal(*given: str | Path, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        Sources(given, **options)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("photos/b.png", "photos/a.png", "photos/sub/c.png", "photos/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png() if name.endswith("png") else b"")
    return tmp_path / "photos"


def test_files_and_folders_in_the_order_given(photos: Path) -> None:
    sources = Sources([photos / "b.png", str(photos)])
    expected = [photos / name for name in ("b.png", "a.png", "b.png", "sub/c.png")]
    assert names(sources) == [str(path) for path in expected]
    assert sources.count == 4 and names(sources) == names(sources)
    assert sources.passed == [f"{photos}: 1 passed over: 1 .txt"]
    assert {colour(item.image) for item in sources} == {(255, 0, 0)}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.png", ["a.png", "b.png"]),
        ("?.png", ["a.png", "b.png"]),
        ("[b-z].png", ["b.png"]),
        ("**/*.png", ["a.png", "b.png", "sub/c.png"]),
        ("**", ["a.png", "b.png", "sub/c.png"]),
        ("*", ["a.png", "b.png", "sub/c.png"]),
    ],
)
def test_patterns(photos: Path, pattern: str, found: list[str]) -> None:
    sources = Sources([f"{photos}/{pattern}"])
    assert names(sources) == [str(photos / name) for name in found]


def test_a_pattern_that_fits_nothing(photos: Path) -> None:
    assert refusal(f"{photos}/*.jpg").code == "image.missing"
    assert "1 that are no images do" in refusal(f"{photos}/*.txt").message


def test_a_file_that_looks_like_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "what[1].png").write_bytes(png())
    assert names(Sources([tmp_path / "what[1].png"])) == [str(tmp_path / "what[1].png")]


def test_a_folder_without_images_and_a_missing_file(photos: Path) -> None:
    (photos / "empty").mkdir()
    assert refusal(photos / "empty").code == "image.none"
    (item,) = Sources([photos / "gone.png"])  # others may be captioned all the same
    with pytest.raises(InputError, match=r"image\.missing"):
        load_image(item.image)


class Pipe(io.BytesIO):
    def isatty(self) -> bool:
        return False


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def test_standard_input() -> None:
    sources = Sources(["-"], stdin=Pipe(png("blue")))
    (item,) = sources
    assert item.name == "-" and is_image(item.image) and sources.count == 1
    assert colour(item.image) == (0, 0, 255)
    assert refusal("-", "-").code == "image.stdin"
    for stream, code in ((Terminal(), "image.stdin"), (Pipe(), "image.empty")):
        (item,) = Sources(["-"], stdin=stream)
        with pytest.raises(InputError) as caught:
            load_image(item.image)
        assert caught.value.code == code


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0"])
def test_pipes_of_the_shell(name: str) -> None:
    code = (
        "import sys; from edgecap.runtime.sources import Sources\n"
        "from edgecap.runtime.image_files import load_image\n"
        "(item,) = Sources(sys.argv[1:]); print(load_image(item.image).image.size)"
    )
    done = subprocess.run([sys.executable, "-c", code, name], input=png(), capture_output=True)
    assert done.stdout == b"(8, 6)\n", done.stderr


def test_other_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (item,) = Sources([tmp_path / "pipe.png"])
    with pytest.raises(InputError, match=r"Give - to read"):
        load_image(item.image)


# URLs


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        paths = {"/image.png": png("green"), "/page": b"<!doctype html>", "/big": bytes(3 << 20)}
        if self.path in ("/moved", "/away", "/round"):
            self.send_response(302)
            to = {"/moved": "/image.png", "/away": "file:///etc/passwd", "/round": "/round"}
            self.send_header("Location", to[self.path])
            self.end_headers()
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(50):
                time.sleep(0.02)
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return
        elif self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"x")
        elif self.path in paths:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(paths[self.path])
        else:
            self.send_error(404)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    thread.join()
    made.server_close()


def test_urls_are_fetched_when_asked(server: str) -> None:
    assert refusal(f"{server}/image.png").code == "image.url"
    sources = Sources([f"{server}/image.png", f"{server}/moved"], urls=True)
    assert names(sources) == [f"{server}/image.png", f"{server}/moved"]
    assert [colour(item.image) for item in sources] == [(0, 128, 0)] * 2


@pytest.mark.parametrize(
    ("path", "code", "told"),
    [
        ("/nothing", "image.fetch", "the server answers 404 Not Found"),
        ("/away", "image.fetch", "cannot be fetched"),
        ("/round", "image.fetch", "cannot be fetched"),
        ("/cut", "image.fetch", "cannot be fetched"),
        ("/page", "image.unreadable", "is a web page, not an image"),
    ],
)
def test_what_cannot_be_fetched(server: str, path: str, code: str, told: str) -> None:
    (item,) = Sources([server + path], urls=True)
    with pytest.raises(InputError) as caught:
        load_image(item.image)
    assert caught.value.code == code and told in caught.value.message
    assert "\n" not in str(caught.value) and caught.value.hint


def test_size_and_time_are_limited(server: str) -> None:
    with pytest.raises(InputError, match=r"more than the 1,000 bytes"):
        fetch(f"{server}/big", limit=1000)
    assert len(fetch(f"{server}/big")) == 3 << 20
    with pytest.raises(InputError, match=r"cannot be fetched"):
        fetch(f"{server}/slow", patience=0.1)


@pytest.mark.parametrize("url", ["ftp://host/a.png", "file:///etc/passwd", "s3://bucket/a.png"])
def test_other_schemes_are_refused(url: str) -> None:
    for refused in (lambda: Sources([url], urls=True), lambda: load_image(url)):
        with pytest.raises(
            InputError, match=r"is not an http or https URL, and no other"
        ) as caught:
            refused()
        assert caught.value.code == "image.url"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("https://host/a.png", "https://host/a.png is a URL, and nothing is fetched unless asked."),
        ("file:///home/a.png", "Give the path: /home/a.png"),
        (f"data:image/png;base64,{'A' * 5000}", "AAA… is not an http or https URL"),
        ("", "an image needs a name, and it is empty."),
    ],
)
def test_names_that_are_no_paths(name: str, told: str) -> None:
    for refused in (lambda: Sources([name]), lambda: load_image(name)):
        with pytest.raises(InputError) as caught:
            refused()
        assert told in str(caught.value) and len(str(caught.value)) < 300


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"image\.fetch"):
        fetch("http://127.0.0.1:1/a.png")
    with pytest.raises(InputError, match=r"image\.fetch"):
        fetch("http://[broken/a.png")


# Videos


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of ten frames: red, then green, then blue (in OpenCV's order)."""
    path = tmp_path_factory.mktemp("videos") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for bgr in ((0, 0, 255), (0, 255, 0), (255, 0, 0)):
        for _ in range(10):
            writer.write(np.full((48, 64, 3), bgr, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(
    ("sampling", "times"),
    [
        (Sampling(), ["0", "1", "2"]),
        (Sampling(fps=2), ["0", "0.5", "1", "1.5", "2", "2.5"]),
        (Sampling(every=7), ["0", "0.7", "1.4", "2.1", "2.8"]),
        (Sampling(every=1, limit=3), ["0", "0.1", "0.2"]),
        (Sampling(fps=1000), [f"{i / 10:g}" for i in range(30)]),
    ],
)
def test_frames_of_a_video(clip: Path, sampling: Sampling, times: list[str]) -> None:
    sources = Sources([clip], sampling=sampling)
    assert sources.count is None
    assert names(sources) == [f"{clip}#t={time}" for time in times]


def test_frames_have_their_colours(clip: Path) -> None:
    found = [colour(item.image) for item in Sources([clip])]
    np.testing.assert_allclose(found, [(255, 0, 0), (0, 255, 0), (0, 0, 255)], atol=6)


def test_a_video_among_images_and_under_another_name(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "recording").write_bytes(clip.read_bytes())
    sources = Sources([tmp_path / "a.png", tmp_path / "recording"])
    assert len(names(sources)) == 4


def test_what_is_no_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))
    for name in (str(tmp_path / "broken.mp4"), "camera:77"):
        (item,) = Sources([name])
        with pytest.raises(InputError, match=r"video\.unreadable") as caught:
            load_image(item.image)
        assert caught.value.hint  # what to do next
    (tmp_path / "pointer.mp4").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (item,) = Sources([tmp_path / "pointer.mp4"])
    with pytest.raises(InputError, match=r"a Git-LFS pointer, not a video\. Run: git lfs pull"):
        load_image(item.image)
    (item,) = Sources([tmp_path / "gone.mp4"])
    with pytest.raises(InputError, match=r"does not exist"):
        load_image(item.image)


@pytest.mark.parametrize(
    "options",
    [{"every": 0}, {"fps": 0.0}, {"fps": float("nan")}, {"every": 2, "fps": 1.0}, {"limit": 0}],
)
def test_samplings_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"video\.sampling"):
        Sampling(**options)


def test_without_opencv_the_extra_is_named(clip: Path) -> None:
    code = (
        "import sys; sys.modules['cv2'] = None\n"
        "from edgecap.core.errors import MissingPackageError\n"
        "from edgecap.runtime.sources import Sources\n"
        "try: Sources(sys.argv[1:])\n"
        "except MissingPackageError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(clip)], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "[package.missing] cv2 is not installed, and this needs it. "
        "Run: pip install 'edgecap[video]'\n"
    )
    assert issubclass(MissingPackageError, Exception)
