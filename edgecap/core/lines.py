"""A file of lines, to which one run at a time writes; every line is there as soon as it is done."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from edgecap.core.errors import InputError
from edgecap.core.locks import lock_file


@contextmanager
def line_file(path: Path, keep: bool) -> Iterator[Callable[[str], None]]:
    """Give a function that writes a line, behind those that are there if `keep`.

    What cannot be encoded, of a file's name that is not Unicode, is escaped. Raises InputError:
    output.busy while another run writes the file, which is then not changed; output.unwritable
    where it cannot be opened, or not be written, as on a full disk.
    """
    try:
        file = FileIO(path, "a")
    except OSError as error:
        raise _unwritable(path, error) from error
    with file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            if not lock_file(file.fileno()):
                raise InputError(
                    "output.busy",
                    f"another run is writing {path}.",
                    "Wait for it, or choose another file.",
                )
            if not keep:
                file.truncate(0)

        def write(line: str) -> None:
            data = (line + "\n").encode("utf-8", "backslashreplace")
            try:
                while data:
                    data = data[file.write(data) :]
            except OSError as error:
                raise _unwritable(path, error) from error

        yield write


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        "output.unwritable",
        f"{path} cannot be written: {error.strerror}.",
        "Free some space or choose another path.",
    )
