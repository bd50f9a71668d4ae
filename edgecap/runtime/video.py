"""Frames of videos and cameras, through OpenCV (the extra `video`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from edgecap.core.errors import InputError
from edgecap.core.lazy import require
from edgecap.runtime.image_arrays import Pixels
from edgecap.runtime.image_kinds import ADVICE, kind_of_file

CAMERA = "camera"  # "camera" or "camera:1" in place of a path


@dataclass(frozen=True)
class Sampling:
    """Which frames are used: every n-th, or a number per second; by default one per second."""

    every: int | None = None
    fps: float | None = None
    limit: int | None = None  # maximum number of frames; a camera never ends

    def __post_init__(self) -> None:
        """Raises InputError (video.sampling)."""
        if self.every is not None and self.fps is not None:
            raise _bad("every n-th frame and frames per second exclude each other")
        if self.every is not None and self.every < 1:
            raise _bad(f"every n-th frame: n must be at least 1, got {self.every}")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise _bad(f"frames per second must be above 0 and at most 1000, got {self.fps}")
        if self.limit is not None and self.limit < 1:
            raise _bad(f"the limit of frames must be at least 1, got {self.limit}")


@dataclass(frozen=True)
class Frame:
    """One frame and its time since the start."""

    pixels: Pixels
    seconds: float


def opencv() -> ModuleType:
    """OpenCV with its logs disabled; MissingPackageError if it is not installed."""
    # Errors are raised by this module; OpenCV and FFmpeg would also print them.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    return require("cv2", "video")


def camera_index(name: str) -> int | None:
    """The index of the camera "camera" or "camera:1"; None if `name` is not a camera."""
    if name == CAMERA:
        return 0
    number = name.removeprefix(f"{CAMERA}:")
    return int(number) if number != name and number.isdecimal() and len(number) < 4 else None


def frames(source: str | int, sampling: Sampling) -> Iterator[Frame]:
    """The sampled frames of a video file or of the camera with this index.

    Raises InputError (video.unreadable) if it cannot be opened or holds no frame.
    """
    cv2 = opencv()
    what = f"camera {source}" if isinstance(source, int) else source
    capture = cv2.VideoCapture(source)
    try:
        if not capture.isOpened():
            raise _unreadable(source)
        if isinstance(source, int):
            capture.set(
                cv2.CAP_PROP_BUFFERSIZE, 1
            )  # otherwise slow captioning would read outdated frames
        taken = 0
        for frame in _chosen(capture, cv2, sampling):
            yield frame
            taken += 1
            if taken == sampling.limit:
                return
        if not taken:
            raise InputError("video.unreadable", f"{what} holds no frame.")
    finally:
        capture.release()


def _chosen(capture: Any, cv2: ModuleType, sampling: Sampling) -> Iterator[Frame]:
    rate = capture.get(cv2.CAP_PROP_FPS)
    period = 1 / (sampling.fps or 1.0)  # seconds
    index, due = 0, 0.0
    while capture.grab():  # frames that are not used are not decoded
        seconds = index / rate if rate > 0 else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if index % sampling.every == 0 if sampling.every else seconds >= due - 1e-6:
            whole, values = capture.retrieve()
            if whole:
                yield Frame(Pixels(values, channels="bgr"), seconds)  # uint8 [h,w,3]
            while due <= seconds + 1e-6:
                due += period
        index += 1


def _unreadable(source: str | int) -> InputError:
    if isinstance(source, int):
        return InputError(
            "video.unreadable",
            f"camera {source} cannot be opened.",
            "Connect it, close other programs that use it, or name another one, as camera:1.",
        )
    kind = kind_of_file(source)
    if kind in ("", "video"):
        again = "Copy or save it again."
        return InputError("video.unreadable", f"{source} cannot be read as a video.", again)
    return InputError(
        "video.unreadable", f"{source} is a {kind}, not a video.", ADVICE.get(kind, "")
    )


def _bad(message: str) -> InputError:
    return InputError("video.sampling", f"{message}.")
