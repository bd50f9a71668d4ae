"""The `edgecap` command.

Each command is the function `run` of the file of its name, and `DETAILS` there is the rest of its
help. Only the file of the command that runs is imported, so these files may import what they like
inside their functions and nothing heavy outside. `run` returns nothing; it raises an EdgecapError,
or typer.Exit with a code.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import edgecap
from edgecap.cli._commands import COMMANDS, RENAMED, by_group
from edgecap.cli._help import HelpfulCommand, paragraphs, section, usage
from edgecap.core.choices import pick
from edgecap.core.command import (
    INTERRUPTED_EXIT,
    Stopped,
    prepare_streams,
    print_error,
    report_error,
    signals_as_interrupt,
)
from edgecap.core.errors import EdgecapError
from edgecap.core.printable import printable

UNREAD_EXIT = 141  # of a process that SIGPIPE ended
_ABOUT = "Put an image captioner on phones, browsers and boards."
_EXIT_CODES = (
    "Exit codes: 0 done, 1 a gate failed, 2 refused, 70 a defect of edgecap, 130 interrupted "
    "(143 by SIGTERM, 129 by SIGHUP). Details of a command: edgecap COMMAND --help"
)


class Commands(TyperGroup):
    """The commands, each imported when it runs."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, [RENAMED.get(args[0], args[0]), *args[1:]])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        known = COMMANDS[pick("command", cmd_name, COMMANDS)]
        module = import_module(f"edgecap.cli.{known.name}")
        single = typer.Typer(add_completion=False)
        register = single.command(
            known.name,
            cls=type("Command", (HelpfulCommand,), {"renamed": getattr(module, "RENAMED", {})}),
            help=f"{known.summary}\n\n{module.DETAILS}",
        )
        register(module.run)
        return typer.main.get_command(single)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        pieces = [usage(ctx.command_path, ["COMMAND", "..."]), paragraphs(_ABOUT)]
        for group, commands in by_group().items():
            pieces.append(section(group, [(one.name, one.summary) for one in commands]))
        options = [(option.opts[0], str(option.help)) for option in _options(self, ctx)]
        formatter.write("\n".join([*pieces, section("Options", options), paragraphs(_EXIT_CODES)]))


def _options(group: Commands, ctx: Any) -> list[Any]:
    return [param for param in group.get_params(ctx) if not getattr(param, "hidden", False)]


app = typer.Typer(cls=Commands, add_completion=True, rich_markup_mode=None)


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
    """The options before the command."""


def main(args: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done, 1 a gate failed, 2 refused, 70 a defect of edgecap, 130 interrupted (143 by SIGTERM,
    129 by SIGHUP), 141 where the reader of the output left. An error is one line on standard error.
    """
    with signals_as_interrupt() as stopped:
        try:
            with _notes_shown():
                return _run(sys.argv[1:] if args is None else args, stopped)
        except KeyboardInterrupt:
            return stopped.report("edgecap")


class _Notes(logging.Handler):
    """Says on standard error what readers of images note, such as a missing end."""

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(f"edgecap: {printable(record.getMessage())}", err=True)


@contextmanager
def _notes_shown() -> Iterator[None]:
    handler, logger = _Notes(), logging.getLogger("edgecap.runtime.image_files")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _run(args: list[str], stopped: Stopped) -> int:
    try:
        prepare_streams()
        command = typer.main.get_command(app)
        code = command.main(args or ["--help"], prog_name="edgecap", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command_path = context.command_path if context is not None else "edgecap"
        files = [arg for arg in args if arg.startswith("-") and os.path.exists(arg)]
        advice = f"Write ./{files[0]} for the file." if files else f"Run: {command_path} --help"
        message = f"[usage] {error.format_message().rstrip('.')}. {advice}"
        return print_error("edgecap", message, EdgecapError.exit_code)
    except SystemExit:  # click's: whoever reads the output has left, as `head` does
        return UNREAD_EXIT
    except Exception as error:
        return report_error("edgecap", error)
    if code == INTERRUPTED_EXIT:  # typer's translation of KeyboardInterrupt
        return stopped.report("edgecap")
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
