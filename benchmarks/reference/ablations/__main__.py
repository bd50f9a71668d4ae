"""Test the design's claims: `python -m edgecap.benchmarks.reference.ablations NAME|all`.

Leaves NAME.jsonl (rows; a sweep that was stopped goes on from them), NAME.md and NAME.png in the
directory of --out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.benchmarks.reference.ablations import NAMES
from edgecap.core.choices import pick
from edgecap.core.command import check_numbers, run_command
from edgecap.core.errors import InputError
from edgecap.core.lazy import require

if TYPE_CHECKING:
    from edgecap.benchmarks.reference.ablations.experiment import Ablation

FEWEST_IMAGES = 128  # or the last stage of a curriculum, 15 % of them, would have no step


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m edgecap.benchmarks.reference.ablations",
        description="Put claims of the design to the test, on tiny budgets.",
    )
    parser.add_argument("name", metavar="NAME", help=f"all, or one of {', '.join(NAMES)}")
    parser.add_argument(
        "--seeds", type=int, default=3, help="of the runs; 0: count the facts, train nothing"
    )
    parser.add_argument("--images", type=int, help="of a run; default: the ablation's own")
    parser.add_argument("--scenes", type=int, default=128, help="evaluated per run")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--out", type=Path, default=Path("ablations"), help="directory")
    parser.add_argument("--json", choices=["-"], help="print JSON instead of tables")
    args = parser.parse_args(arguments)
    return run_command("ablations", lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    names = _checked(args)
    require("torch", "train")
    found = [_ablate(name, args) for name in (names if args.seeds else _counted(names))]
    if args.json:
        print(json.dumps(found if args.name == "all" else found[0], ensure_ascii=False, indent=1))


def _checked(args: argparse.Namespace) -> tuple[str, ...]:
    """The requested ablations; InputError for numbers or names that cannot be used."""
    check_numbers(args, "ablations", seeds=0, images=FEWEST_IMAGES, scenes=2, jobs=1)
    if args.name == "all":
        return NAMES
    return (pick("ablation", args.name, ("all", *NAMES)),)


def _counted(names: Sequence[str]) -> list[str]:
    """Those that have facts, which need no training; InputError where none has."""
    counted = [name for name in names if _ablation(name).facts is not None]
    if not counted:
        raise InputError(
            "ablations.facts",
            f"{', '.join(names)} has nothing to count without training.",
            "Give one seed or more.",
        )
    return counted


def _ablation(name: str) -> Ablation:
    # PyTorch takes two seconds to import, and --help needs none of it.
    module = import_module(f"edgecap.benchmarks.reference.ablations.{name}")
    return module.ABLATION


def _ablate(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Gather one ablation, write its table and image, and give its JSON."""
    from edgecap.benchmarks.reference.ablations.experiment import Budget
    from edgecap.benchmarks.reference.ablations.report import draw, to_json, to_markdown
    from edgecap.benchmarks.reference.ablations.store import Store
    from edgecap.benchmarks.reference.ablations.sweep import gather
    from edgecap.core.atomic import write_file

    ablation = _ablation(name)
    budget = Budget(args.seeds, args.images, args.scenes, args.jobs)
    facts, rows = gather(ablation, budget, Store(args.out, name))
    text = to_markdown(ablation, facts, rows)
    drawn = draw(args.out / f"{name}.png", ablation, facts, rows)
    image = f"\n![{name}]({name}.png)\n" if drawn else ""
    write_file(args.out / f"{name}.md", (text + image).encode())
    if not args.json:
        print(text, flush=True)
    return to_json(ablation, facts, rows)


if __name__ == "__main__":
    sys.exit(main())
