"""Keeping converters quiet: they print progress bars, warnings and compiler logs."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from edgecap.core.errors import EdgecapError

SHOWN = 2000  # bytes of a log that an unexplained failure shows


def _opened(log: Path | None) -> IO[bytes]:
    return tempfile.TemporaryFile() if log is None else log.open("ab+")


@contextmanager
def quiet(log: Path | None = None) -> Iterator[None]:
    """Send both output streams to a file; on an exception, show its last lines.

    The file is added to `log` where that is given, and stays there even if a converter kills the
    process; otherwise it is temporary. An EdgecapError needs no such context: it says itself what
    is wrong. Works on the descriptors, because the compilers below Python write to them directly.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = (os.dup(1), os.dup(2))
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with _opened(log) as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        explained = False
        try:
            yield
            explained = True
        except EdgecapError:
            explained = True
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, copy in enumerate(kept, start=1):
                os.dup2(copy, descriptor)
                os.close(copy)
            logging.disable(level)
            if not explained:
                sink.seek(0, os.SEEK_END)
                sink.seek(max(0, sink.tell() - SHOWN))
                sys.stderr.write(sink.read().decode(errors="replace"))
