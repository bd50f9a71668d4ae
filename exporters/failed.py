"""What is kept of a bundle that failed its gate: everything, where a directory was named for it.

DIR/<name>/                   the bundle as it was compared; parity.json lists what failed
DIR/<name>/converter-log.txt  what the converter printed
DIR/<name>.log                the same while it converts: a converter that crashes leaves it
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgecap.bundle.io import is_bundle
from edgecap.core.atomic import atomic_dir, make_directory
from edgecap.core.errors import GateError

LOG = "converter-log.txt"  # for people: no reader of bundles minds it


@contextmanager
def keeping_failed(
    directory: Path, folder: Path | None, name: str, overwrite: bool
) -> Iterator[Path | None]:
    """Copy `directory` to `folder`/`name` on a GateError, which goes on.

    Yields the file that converters are to print to; None, and nothing is kept, without `folder`.
    """
    if folder is None:
        yield None
        return
    make_directory(folder)
    log = folder / f"{name}.log"
    log.unlink(missing_ok=True)
    try:
        yield log
    except GateError:
        with atomic_dir(folder / name, overwrite, marker=is_bundle) as kept:
            shutil.copytree(directory, kept, dirs_exist_ok=True)
            if log.exists():
                shutil.move(log, kept / LOG)
        raise
    log.unlink(missing_ok=True)
