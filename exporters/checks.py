"""What is refused before any work: requests that cannot work, taken places, too little room."""

from __future__ import annotations

from pathlib import Path

from edgecap.bundle.io import is_bundle
from edgecap.core.atomic import refuse_existing
from edgecap.core.errors import InputError, MissingPackageError, UnsupportedError
from edgecap.core.formats import FORMATS, Format, load_object
from edgecap.core.lazy import require
from edgecap.exporters import room
from edgecap.exporters.estimate import reference_size
from edgecap.exporters.planning import read_plan
from edgecap.exporters.quiet import quiet
from edgecap.exporters.spec import ExportRequest
from edgecap.reference.scenes.shipped import SETS

_REST = 4 << 20  # bytes of golden files and the like
MOST_AT_ONCE = 32  # tokens of one step


def check(request: ExportRequest) -> dict[str, Path]:
    """Format -> output directory, after refusing what cannot work; nothing is loaded or written.

    Raises InputError, UnsupportedError and MissingPackageError.
    """
    from edgecap.reference.model import weights

    if not request.formats or len(set(request.formats)) != len(request.formats):
        raise InputError("export.formats", "an export needs one format or several, each once.")
    rows = [FORMATS[name] for name in request.formats]
    if not 4 <= request.scenes <= SETS["gate"][1]:
        raise InputError(
            "export.scenes", f"scenes must be in 4 … {SETS['gate'][1]}, got {request.scenes}."
        )
    _check_combinations(request, rows)
    request.check_plan()
    name, path = weights.resolve(request.model)
    if request.plan is not None:
        read_plan(request, request.plan, name, path)
    outputs = {row.name: request.directory(name, row.name) for row in rows}
    for output in outputs.values():
        refuse_existing(output, request.overwrite, is_bundle)
    for row in rows:
        _check_kept(request, name, row, outputs[row.name])
    for row in rows:
        _require(request, row)
    if request.max_drop is not None:
        require("matplotlib", "export")  # for the image at the end of a long search
    check_room(request, path.stat().st_size, outputs)
    return outputs


def _check_combinations(request: ExportRequest, rows: list[Format]) -> None:
    """Of formats with the precision and with the options that are theirs alone."""
    if request.extend is not None and not 2 <= request.extend <= MOST_AT_ONCE:
        raise InputError(
            "export.extend", f"extend must be in 2 … {MOST_AT_ONCE} tokens, got {request.extend}."
        )
    for row in rows:
        if request.extend is not None and row.name not in ("onnx", "tflite"):
            raise UnsupportedError(
                "export.extend",
                f"--extend is of ONNX and TFLite bundles, and {row.name} was requested.",
                "Leave it out.",
            )
        precisions = request.candidates(row)
        if not precisions or not set(precisions) <= set(row.precisions):
            raise UnsupportedError(
                "export.combination",
                f"{row.name} has no {request.precision}; it has {', '.join(row.precisions)}.",
            )
        options = request.spec(row, precisions[0]).options
        if options is not None:
            options.check(precisions[0])
    kinds = tuple(load_object(row.options) for row in rows if row.options is not None)
    for options in request.options:
        if not isinstance(options, kinds):
            raise UnsupportedError(
                "export.options",
                f"{type(options).__name__} are of no format that was requested "
                f"({', '.join(request.formats)}).",
                "Leave those options out, or add their format.",
            )


def _check_kept(request: ExportRequest, name: str, row: Format, output: Path) -> None:
    """Of the places where the bundles of a format are kept if they fail."""
    if request.keep_failed is None:
        return
    if request.keep_failed.resolve().is_relative_to(output.resolve()):
        raise InputError(
            "output.inside",
            f"{request.keep_failed} lies in {output}, which holds what passes and no more.",
            "Name a directory beside it.",
        )
    for precision in request.candidates(row):
        kept = request.keep_failed / f"{name}-{row.name}-{precision}"
        refuse_existing(kept, request.overwrite, is_bundle)


def _require(request: ExportRequest, row: Format) -> None:
    """MissingPackageError unless what converts is installed, and what the gate runs it with."""
    runs = request.verify or request.max_drop is not None  # a search times its plans
    engine = (row.engine,) if runs and row.engine is not None else ()
    with quiet():  # some print at import what they were not tested with
        for module in (*row.needs, *engine):
            try:
                require(module, "export")
            except MissingPackageError as error:
                hint = f"Run: {row.install}"
                raise MissingPackageError(error.code, error.message, hint) from None


def check_room(request: ExportRequest, weights: int, outputs: dict[str, Path]) -> None:
    """InputError where a disk has too little room; `weights`: bytes of the float16 weights file."""
    needed = reference_size(weights, request.precision) + _REST
    room.check_room((output, needed) for output in outputs.values())
