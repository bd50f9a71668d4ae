"""Arguments and options that several commands have, spelt and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgecap.core.command import MOST_SEED
from edgecap.core.cores import MOST_THREADS
from edgecap.core.errors import InputError

ADVANCED = "Advanced"
WEIGHTS = "The shipped model S, or a .safetensors file of its kind."
MODEL = (
    "Bundle, a directory or .edgecap; or, on PyTorch, the shipped model S or a "
    ".safetensors file of its kind."
)

Bundle = Annotated[
    str | None,
    typer.Option("--bundle", "-b", help=f"{MODEL} Default: the newest bundle in this directory."),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="The same as the argument MODEL.",
        rich_help_panel=ADVANCED,
    ),
]
Image = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE", help="Image file of any size and mode, or - for standard input."
    ),
]
Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...", help="Image files, directories, patterns, or - for standard input."
    ),
]
Lang = Annotated[
    str,
    typer.Option("--lang", "-l", help="Language of the caption, as a BCP 47 tag: en, pt-BR, ja."),
]
Languages = Annotated[str, typer.Option("--lang", "-l", help="Languages, comma-separated, or all.")]
Style = Annotated[
    str,
    typer.Option("--style", help="Caption style: grounded, plain, relate, color or shape."),
]
OnError = Annotated[
    str,
    typer.Option(
        "--on-error",
        metavar="skip|fail",
        help="What to do with an image that cannot be read: report it and continue (exit code 2), "
        "or stop.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the output of an earlier run.")
]


def output_option(text: str, metavar: str = "DIR") -> Any:
    """--output, -o."""
    return typer.Option("--output", "-o", metavar=metavar, help=text)


def count_option(text: str, least: int, most: int | None = None) -> Any:
    """--n: the number of scenes."""
    return typer.Option("--n", min=least, max=most, metavar="N", help=text)


def threads_option(text: str = "CPU threads of the engine.") -> Any:
    """--threads, 1 … 1024."""
    return typer.Option("--threads", min=1, max=MOST_THREADS, metavar="N", help=text)


def seed_option(text: str, panel: str | None = None) -> Any:
    """--seed, 0 … 2^63 - 1."""
    return typer.Option(
        "--seed", min=0, max=MOST_SEED, metavar="N", help=text, rich_help_panel=panel
    )


Threads = Annotated[int, threads_option()]


def one_model(argument: str | None, option: str | None, default: str = "S") -> str:
    """The model that a command was given, as an argument or with --model.

    Raises InputError where these differ, and where the argument is a `key=value` of another tool.
    """
    if argument is not None and option is not None and argument != option:
        raise InputError(
            "model.twice",
            f"MODEL is {argument!r} and --model is {option!r}.",
            "Give one of them.",
        )
    given = argument if argument is not None else option
    if given is None:
        return default
    key, equals, value = given.partition("=")
    if equals and key.isidentifier() and not Path(given).exists():
        option_of = {"imgsz": None, "half": "--fp16"}.get(key, f"--{key.replace('_', '-')}")
        flag = "" if value.lower() in ("true", "1", "") or option_of == "--fp16" else f" {value}"
        raise InputError(
            "usage.key_value",
            f"options are not written as {given}.",
            f"Write: {option_of}{flag}" if option_of else "Its input size is the model's own.",
        )
    return given
