"""Warnings of other packages, kept from a user who can do nothing about them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_warnings() -> Iterator[None]:
    """Neither warnings nor log records below an error, while packages are imported or used."""
    level = logging.root.manager.disable
    logging.disable(max(level, logging.WARNING))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(level)
