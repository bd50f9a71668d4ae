"""The `edgecap` command.

Each command is the function `run` of the file of its name. Only the file of the command that runs
is imported, except for the list in `edgecap --help`; so these files import nothing heavy outside
their functions. `run` returns nothing; it raises an EdgecapError, or typer.Exit with a code.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import edgecap
from edgecap.core.choices import pick
from edgecap.core.command import INTERRUPTED_EXIT, report_error, say
from edgecap.core.errors import EdgecapError

UNREAD_EXIT = 141  # of a process that SIGPIPE ended
COMMANDS = (
    "export",
    "verify",
    "caption",
    "explain",
    "faithfulness",
    "index",
    "search",
    "classify",
    "ground",
    "ask",
    "bench",
    "eval",
    "compare",
    "inspect",
    "doctor",
    "scenes",
    "train",
    "finetune",
    "qat",
)


class Commands(TyperGroup):
    """The commands, each imported when it is asked for."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        name = pick("command", cmd_name, COMMANDS)
        single = typer.Typer(add_completion=False)
        single.command(name)(import_module(f"edgecap.cli.{name}").run)
        return typer.main.get_command(single)


app = typer.Typer(cls=Commands, add_completion=False, rich_markup_mode="rich")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(edgecap.__version__)
        raise typer.Exit


@app.callback()
def edgecap_(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Put an image captioner on phones, browsers and boards."""


def main(args: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done, 1 a gate failed, 2 refused, 70 a defect of edgecap, 130 interrupted, 141 nobody reads
    on. An error is one line on standard error.
    """
    given = sys.argv[1:] if args is None else args
    command = typer.main.get_command(app)
    try:
        code = command.main(given or ["--help"], prog_name="edgecap", standalone_mode=False)
    except typer.TyperException as error:
        message = f"[usage] {error.format_message().rstrip('.')}. Run with --help."
        return say("edgecap", message, EdgecapError.exit_code)
    except SystemExit:  # click's: whoever reads the output has left, as `head` does
        return UNREAD_EXIT
    except Exception as error:
        return report_error("edgecap", error)
    if code == INTERRUPTED_EXIT:  # typer's translation of KeyboardInterrupt
        return report_error("edgecap", KeyboardInterrupt())
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
