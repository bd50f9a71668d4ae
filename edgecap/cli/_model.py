"""The captioner that a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgecap.core.errors import EdgecapError, InputError, UnsupportedError

if TYPE_CHECKING:
    from edgecap.runtime import Captioner

_NAMED = 5  # of the bundles that a refusal lists


def chosen(bundle: str | None) -> str:
    """The bundle named, else the newest one here or the shipped weights, as standard error reports.

    At a terminal a person reads which one is taken. A script would run with another as soon as
    another export lands in the directory, so where standard output is no terminal and several
    bundles lie here, one must be named.

    Raises InputError where there is none, or several and nobody to read.
    """
    from edgecap.bundle.io import bundles_in
    from edgecap.models.loading import default_model

    if bundle is not None:
        return bundle
    names = sorted(path.name for path in bundles_in(Path()))
    if len(names) > 1 and not sys.stdout.isatty():
        more = ", …" if len(names) > _NAMED else ""
        raise InputError(
            "bundle.several",
            f"{len(names)} bundles lie in the working directory: "
            f"{', '.join(names[:_NAMED])}{more}.",
            f"Name one: --bundle {names[0]}",
        )
    source, why = default_model(Path())
    typer.echo(f"using {source} ({why})", err=True)
    return source


def load_captioner(source: str, threads: int) -> Captioner:
    """The loaded captioner; errors as of `edgecap.models.loading.load`.

    UnsupportedError for a model that has prompts in place of languages, which only `caption` and
    `verify` run.
    """
    from edgecap.models.loading import load
    from edgecap.runtime import Captioner

    loaded = load(source, threads=threads)
    if not isinstance(loaded, Captioner) or not loaded.languages:
        raise UnsupportedError(
            "model.prompts",
            f"this command needs a model with languages and boxes, and {source} has prompts.",
            f"Caption with it: edgecap caption IMAGE --bundle {source}",
        )
    return loaded


def load_embedder(source: str, threads: int) -> Captioner:
    """The loaded model, if it embeds images and texts; errors as of `edgecap.models.loading.load`.

    UnsupportedError for one that only captions.
    """
    from edgecap.bundle.interface import ENCODE_TEXT
    from edgecap.models.loading import load
    from edgecap.runtime import Captioner

    loaded = load(source, threads=threads)
    if not isinstance(loaded, Captioner) or not loaded.manifest.interface.has(ENCODE_TEXT):
        raise UnsupportedError(
            "embedding.missing",
            f"this command compares images with texts, and {source} writes captions only.",
            "Use a model that embeds both: the reference, edgecap export S, or one of your own",
        )
    return loaded


def only_whole(captioner: Captioner, whole: bool) -> bool:
    """Whether images are compared as wholes: as requested, or since the model names no objects."""
    if whole or captioner.languages:
        return whole
    typer.echo("this model names no objects: images are compared as wholes", err=True)
    return True


def load_maker(source: str, threads: int) -> Captioner:
    """The loaded model that made an index; errors as of `load_embedder`.

    For one that has moved, the refusal shows how to name it.
    """
    try:
        return load_embedder(source, threads)
    except EdgecapError as error:
        if error.code not in ("bundle.missing", "weights.missing"):
            raise
        raise type(error)(
            error.code,
            f"the model that made this index is not there any more: {error.message}",
            "Where it has moved, pass its new place: --bundle PATH",
        ) from None


def load_chosen(bundle: str | None, threads: int) -> Captioner:
    """The loaded captioner of `chosen`; errors as of `load_captioner`."""
    return load_captioner(chosen(bundle), threads)


def options_of(
    captioner: Any,
    lang: str | None,
    style: str | None,
    prompt: str | None,
    beams: int | None = None,
) -> dict[str, Any]:
    """The arguments that this kind of model takes; UnsupportedError for one that it does not."""
    if not captioner.languages:
        if lang is not None or style is not None:
            raise UnsupportedError(
                "caption.prompts",
                "this model has prompts, neither --lang nor --style.",
                f"Choose with --prompt from: {', '.join(captioner.prompts)}",
            )
        return {"prompt": prompt, "beams": beams}
    if prompt is not None:
        raise UnsupportedError(
            "caption.no_prompts", "this model has no prompts.", "Choose with --lang and --style."
        )
    return {"lang": lang or "en", "style": style, "beams": 1 if beams is None else beams}
