"""Filters harmless lines that an engine writes to standard error."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2
_lock = threading.Lock()  # the descriptor belongs to the process


@contextmanager
def suppress_stderr_lines(*beginnings: str) -> Iterator[None]:
    """Drop lines that start with one of `beginnings`; others are written on exit.

    Works on the file descriptor, since engines write to it directly. Does nothing if it is closed.
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
