"""Giving back the pages of a model file that an engine has mapped and read."""

from __future__ import annotations

import os
from pathlib import Path

_DONT_NEED = 4  # MADV_DONTNEED of Linux


def let_go(file: Path) -> None:
    """Take what this process has read of a mapped file out of its memory.

    Engines map a model, copy its weights into a form of their own and seldom read it again, but the
    pages stay. One that is needed later is read from the file anew. Mappings that may be written
    are left alone, and nothing is done on systems without proc(5).
    """
    try:
        path = os.path.realpath(file)
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            lines = [line.split(maxsplit=5) for line in maps]
    except OSError:
        return
    mine = [line for line in lines if len(line) == 6 and line[5].rstrip("\n") == path]
    import ctypes

    advise = ctypes.CDLL(None).madvise
    for place, access, *_ in mine:
        begin, end = (int(each, 16) for each in place.split("-"))
        if "w" not in access:
            advise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _DONT_NEED)
