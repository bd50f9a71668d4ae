"""Pages of mapped files that are given back: out of memory, and read again where needed."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from edgecap.runtime.backends.pages import let_go

SIZE = 4 << 20  # bytes


def resident(file: Path) -> int:
    """KiB of the file that are in the memory of this process, over all mappings."""
    found = re.findall(
        rf"^[0-9a-f]+-\S+ .*{re.escape(str(file))}\n(?:.+\n)*?Rss: +(\d+) kB",
        Path("/proc/self/smaps").read_text("utf-8"),
        re.MULTILINE,
    )
    return sum(map(int, found))


def mapped(file: Path, access: int) -> mmap.mmap:
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=access)


def test_what_was_read_leaves_memory_and_can_be_read_again(tmp_path: Path) -> None:
    file = tmp_path / "model of mine.tflite"
    data = bytes(range(256)) * (SIZE // 256)
    file.write_bytes(data)
    view = mapped(file, mmap.ACCESS_READ)
    assert view[:] == data
    assert resident(file) == SIZE >> 10
    let_go(file)
    assert resident(file) == 0
    assert view[:] == data


def test_what_was_written_stays(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(bytes(SIZE))
    view = mapped(file, mmap.ACCESS_COPY)
    view[:5] = b"mine."
    let_go(file)
    assert view[:5] == b"mine."


def test_a_file_that_nobody_mapped(tmp_path: Path) -> None:
    let_go(tmp_path / "nothing")
