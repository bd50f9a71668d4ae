"""Common options of the commands that measure a captioner on scenes."""

from __future__ import annotations

from argparse import ArgumentParser


def scene_options(name: str, n: int, lang: str) -> ArgumentParser:
    """The parser of the command `name`; `n` scenes and the language `lang` by default."""
    parser = ArgumentParser(prog=f"python -m edgecap.benchmarks.{name}")
    parser.add_argument("captioner", nargs="?", default="S", help="bundle or weights")
    parser.add_argument("--split", default="test")
    parser.add_argument("--n", type=int, default=n, help="scenes")
    parser.add_argument("--lang", default=lang)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", choices=["-"], help="print JSON instead of a table")
    return parser


def percent(value: float | None) -> str:
    """A share in percent; a dash where nothing was measured."""
    return "–" if value is None else f"{100 * value:.1f}"
