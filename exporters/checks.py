"""What is refused before any work: requests that cannot work, taken places, too little room."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgecap.bundle.io import is_bundle
from edgecap.core.atomic import refuse_existing
from edgecap.core.errors import InputError, MissingPackageError
from edgecap.core.formats import FORMATS, Format
from edgecap.core.lazy import require
from edgecap.exporters.quiet import quiet
from edgecap.exporters.room import check_room
from edgecap.exporters.sources import Source
from edgecap.exporters.spec import Candidates, ExportRequest

_REST = 4 << 20  # bytes of golden files and the like


def check(request: ExportRequest, source: Source) -> tuple[dict[str, Path], dict[str, Candidates]]:
    """Output directory and precisions of each format, after refusing what cannot work.

    No weights are loaded, and nothing is written. Raises InputError, UnsupportedError and
    MissingPackageError.
    """
    if not request.formats or len(set(request.formats)) != len(request.formats):
        raise InputError("export.formats", "an export needs one format or several, each once.")
    rows = [FORMATS[name] for name in request.formats]
    source.check(request)
    candidates = {row.name: source.candidates(request, row) for row in rows}
    outputs = {row.name: request.directory(source.name, row.name) for row in rows}
    for output in outputs.values():
        refuse_existing(output, request.overwrite, is_bundle)
    if request.keep_failed is not None:
        for name, output in outputs.items():
            names = [f"{source.name}-{name}-{one}" for one in candidates[name].precisions]
            _check_kept(request.keep_failed, names, output, request.overwrite)
    for row in rows:
        _require(request, row, source.needs)
    source.check_settings(request)
    check_room(
        need
        for name, output in outputs.items()
        for need in [
            *source.expect(name, request.precision).places(output),
            (output, _REST),
        ]
    )
    return outputs, candidates


def _check_kept(folder: Path, names: Iterable[str], output: Path, overwrite: bool) -> None:
    """Of the places where the bundles of a format are kept if they fail."""
    if folder.resolve().is_relative_to(output.resolve()):
        raise InputError(
            "output.inside",
            f"{folder} lies in {output}, which holds what passes and no more.",
            "Name a directory beside it.",
        )
    for name in names:
        refuse_existing(folder / name, overwrite, is_bundle)


def _require(request: ExportRequest, row: Format, more: tuple[str, ...]) -> None:
    """MissingPackageError unless what converts is installed, and what the gate runs it with."""
    modules = [*row.needs, *more]
    if request.max_drop is not None:
        modules.append("matplotlib")  # for the image at the end of a long search
    if row.engine is not None and (request.verify or request.max_drop is not None):
        modules.append(row.engine)  # a search times its plans
    with quiet():  # some print at import what they were not tested with
        for module in modules:
            try:
                require(module, "export")
            except MissingPackageError as error:
                hint = f"Run: {row.install}"
                raise MissingPackageError(error.code, error.message, hint) from None
