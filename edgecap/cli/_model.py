"""The captioner that a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgecap.core.errors import EdgecapError

if TYPE_CHECKING:
    from edgecap.runtime import Captioner


def chosen(bundle: str | None) -> str:
    """What was named, else the newest bundle here or the shipped weights, said on standard error.

    Raises InputError where there is none.
    """
    from edgecap.models.loading import default_model

    if bundle is not None:
        return bundle
    source, why = default_model(Path())
    typer.echo(f"using {source} ({why})", err=True)
    return source


def load_maker(source: str, threads: int) -> Captioner:
    """The loaded captioner that made an index; errors as of `edgecap.runtime.load`.

    One that is no longer where the index says is asked for.
    """
    from edgecap.models.loading import load

    try:
        return load(source, threads=threads)
    except EdgecapError as error:
        if error.code not in ("bundle.missing", "weights.missing"):
            raise
        raise type(error)(
            error.code,
            f"the model that made this index is not there any more: {error.message}",
            "Where it has moved, pass its new place: --bundle PATH",
        ) from None


def load_chosen(bundle: str | None, threads: int) -> Captioner:
    """The loaded captioner of `chosen`; errors as of `edgecap.runtime.load`."""
    from edgecap.models.loading import load

    return load(chosen(bundle), threads=threads)
