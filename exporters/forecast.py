"""What exports of a model would give: supported or refused, and what they need. Nothing is written.

The refusals are those of an export, because the same functions check. A checkpoint is built of
shapes alone: no weights are read.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.core.errors import EdgecapError
from edgecap.core.formats import FORMATS
from edgecap.exporters.prepare import prepare_export
from edgecap.exporters.room import existing_directory
from edgecap.exporters.sources import Source, source_of
from edgecap.exporters.spec import ExportRequest
from edgecap.runtime.memory import free_bytes

if TYPE_CHECKING:
    from edgecap.exporters.job import PreparedExport

_NOWHERE = Path(".edgecap-not-written")  # a directory that is not there: nothing is in its way


@dataclass(frozen=True)
class Row:
    """One format at one precision."""

    format: str
    precision: str
    refusal: str | None  # what an export would print; None: supported
    output: str | None = None  # the directory that would be written; None: not requested
    size: int | None = None  # bytes of the model files
    memory: int | None = None  # bytes, the most that the exporting process holds
    scratch: int | None = None  # bytes of temporary files


@dataclass(frozen=True)
class Forecast:
    """Every format and precision that was requested, and what this machine has."""

    model: str
    family: str
    parameters: int | None  # None: of the reference, whose weights file shows its size
    license: str
    rows: tuple[Row, ...]
    free_memory: int  # bytes
    free_disk: int  # bytes, where the bundles go
    free_scratch: int  # bytes, where temporary files go

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def survey(model: str) -> Forecast:
    """What exporting `model` to every format at every precision would give.

    Raises:
        InputError, UnsupportedError or MissingPackageError for a model that no export takes.
    """
    source = source_of(model)
    # Raises also what an export refuses once it is open.
    parameters = source.parameters(ExportRequest(model))
    rows = []
    for format_, row in FORMATS.items():
        for precision in row.precisions:
            try:
                prepare_export(model, formats=(format_,), precision=precision, output=_NOWHERE)
            except EdgecapError as error:
                rows.append(Row(format_, precision, str(error)))
            else:
                rows.append(_supported(source, format_, precision))
    return _forecast(model, source, parameters, rows, Path())


def dry_run(prepared: PreparedExport) -> Forecast:
    """What an export that `prepare_export` has accepted would write.

    Raises:
        InputError or UnsupportedError: what the export would refuse after loading the model.
    """
    request, source, outputs = prepared.request, prepared.source, prepared.outputs
    parameters = source.parameters(request)
    rows = [
        _supported(source, format_, request.precision, str(output))
        for format_, output in outputs.items()
    ]
    return _forecast(request.model, source, parameters, rows, next(iter(outputs.values())))


def _supported(source: Source, format_: str, precision: str, output: str | None = None) -> Row:
    expected = source.expect(format_, precision)
    size, memory, scratch = expected.size, expected.memory, expected.scratch
    return Row(format_, precision, None, output, size, memory, scratch)


def _forecast(
    model: str, source: Source, parameters: int | None, rows: Iterable[Row], place: Path
) -> Forecast:
    return Forecast(
        model=model,
        family=source.family,
        parameters=parameters,
        license=source.license,
        rows=tuple(rows),
        free_memory=free_bytes(),
        free_disk=shutil.disk_usage(existing_directory(place)).free,
        free_scratch=shutil.disk_usage(tempfile.gettempdir()).free,
    )
