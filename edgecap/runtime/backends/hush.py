"""Lines that an engine writes to standard error although nothing is wrong."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2
_lock = threading.Lock()  # the descriptor is the process's


@contextmanager
def hushed(*beginnings: str) -> Iterator[None]:
    """Leave out lines that begin so; all others are written when the work is done.

    On the descriptor, because engines write there themselves. Where there is none, nothing changes.
    """
    with _lock:
        sys.stderr.flush()
        try:
            kept = os.dup(_STDERR)
        except OSError:
            yield
            return
        with tempfile.TemporaryFile() as written:
            os.dup2(written.fileno(), _STDERR)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(kept, _STDERR)
                os.close(kept)
                written.seek(0)
                for line in written:
                    if not line.startswith(tuple(text.encode() for text in beginnings)):
                        os.write(_STDERR, line)
