"""What exports of a model would give: supported or refused, and what they need. Nothing is written.

The refusals are those of an export, because the same functions check. A checkpoint is built of
shapes alone: no weights are read.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgecap.core.errors import EdgecapError
from edgecap.core.formats import FORMATS, INT8, INT8_CANDIDATES
from edgecap.exporters import checkpoints
from edgecap.exporters.estimate import Estimate, estimate, reference_size
from edgecap.exporters.prepare import is_checkpoint, prepare_export
from edgecap.exporters.quiet import quiet
from edgecap.exporters.room import existing_directory
from edgecap.runtime.memory import free_bytes

# Peak of an export of the shipped reference with its verification, measured; weights are small.
REFERENCE_MEMORY = 2 << 30
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
    described = _describe(model)
    rows = []
    for format_, row in FORMATS.items():
        for precision in row.precisions:
            try:
                prepare_export(model, formats=(format_,), precision=precision, output=_NOWHERE)
            except EdgecapError as error:
                rows.append(Row(format_, precision, str(error)))
            else:
                expected = described.expect(format_, precision)
                rows.append(_supported(expected, format_, precision))
    return _forecast(model, described, rows, Path())


def dry_run(model: str, outputs: Mapping[str, Path], precision: str) -> Forecast:
    """What an export that `prepare_export` has accepted would write.

    Args:
        model: as of `edgecap.export`.
        outputs: format -> directory of its bundle.
        precision: a name of edgecap.core.formats, or int8.

    Raises:
        InputError or UnsupportedError: what the export would refuse after loading the model.
    """
    described = _describe(model)
    first = described.first(tuple(outputs), precision)
    rows = [
        _supported(described.expect(format_, first), format_, precision, str(output))
        for format_, output in outputs.items()
    ]
    return _forecast(model, described, rows, next(iter(outputs.values())))


def _supported(expected: Estimate, format_: str, precision: str, output: str | None = None) -> Row:
    size, memory, scratch = expected.size, expected.memory, expected.scratch
    return Row(format_, precision, None, output, size, memory, scratch)


def _forecast(
    model: str, described: _Checkpoint | _Reference, rows: Iterable[Row], place: Path
) -> Forecast:
    return Forecast(
        model=model,
        family=described.family,
        parameters=described.parameters,
        license=described.license,
        rows=tuple(rows),
        free_memory=free_bytes(),
        free_disk=shutil.disk_usage(existing_directory(place)).free,
        free_scratch=shutil.disk_usage(tempfile.gettempdir()).free,
    )


def _describe(model: str) -> _Checkpoint | _Reference:
    return _Checkpoint(model) if is_checkpoint(model) else _Reference(model)


class _Checkpoint:
    """A Hugging Face checkpoint; refuses all that an export refuses before it converts."""

    def __init__(self, model: str) -> None:
        from edgecap.models import registry
        from edgecap.models.checkpoint import open_checkpoint

        self._model, self._opened = model, open_checkpoint(model)
        with quiet():
            from edgecap.models.weightless import stored, without_weights

            adapter = registry.load(self._opened, build=without_weights)
            stored(adapter.model, self._opened)
        checkpoints.describe(adapter, self._opened)
        self.family, self.license = self._opened.model_type, self._opened.license
        self.parameters = sum(p.numel() for p in adapter.model.parameters())

    def first(self, formats: tuple[str, ...], precision: str) -> str:
        """The precision that is tried first: int8 is w8a8 where the memory is there."""
        spec = checkpoints.CheckpointSpec(self._model, formats, precision)
        return checkpoints.candidates(spec, self._opened)[0][0]

    def expect(self, format_: str, precision: str) -> Estimate:
        return estimate(self._opened, format_, precision)


class _Reference:
    """Weights of the reference model."""

    parameters = None

    def __init__(self, model: str) -> None:
        from edgecap.reference.model import weights

        name, path = weights.resolve(model)
        self.family, self.license = f"reference {name}", "Apache-2.0"
        self._bytes = os.stat(path).st_size

    def first(self, formats: tuple[str, ...], precision: str) -> str:
        return INT8_CANDIDATES[0] if precision == INT8 else precision

    def expect(self, format_: str, precision: str) -> Estimate:
        return Estimate(reference_size(self._bytes, precision), REFERENCE_MEMORY, 4 * self._bytes)
