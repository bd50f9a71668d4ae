"""The captioner that a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgecap.runtime import Captioner


def chosen(bundle: str | None) -> str:
    """What was named, else the newest bundle here or the shipped weights, said on standard error.

    Raises InputError where there is none.
    """
    from edgecap.runtime.choosing import choose

    if bundle is not None:
        return bundle
    source, why = choose(Path())
    typer.echo(f"using {source} ({why})", err=True)
    return source


def load_chosen(bundle: str | None, threads: int) -> Captioner:
    """The loaded captioner of `chosen`; errors as of `edgecap.runtime.load`."""
    from edgecap.runtime import load

    return load(chosen(bundle), threads=threads)
