"""Options that several commands have and that are bounded alike."""

from __future__ import annotations

from typing import Any

import typer

from edgecap.core.command import MOST_SEED
from edgecap.core.cores import MOST_THREADS


def threads_option(said: str = "CPU threads.") -> Any:
    """--threads, 1 … 1024."""
    return typer.Option("--threads", min=1, max=MOST_THREADS, help=said)


def seed_option(said: str) -> Any:
    """--seed, 0 … 2^63 - 1."""
    return typer.Option("--seed", min=0, max=MOST_SEED, help=said)
