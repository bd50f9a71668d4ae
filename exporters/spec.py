"""What an export is to make: the request of a user, and what a converter was requested.

Both are frozen. A request names a model, formats and one precision, which may be `int8`: the best
int8 that is close enough to PyTorch. A spec is derived from it once the plan is known. What a model
can do of a request, its source says (sources).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from edgecap.core.errors import InputError
from edgecap.core.formats import INT8, Format, load_object
from edgecap.quant.samples import CalibrationSpec


class FormatOptions(Protocol):
    """What only one format has: a frozen dataclass that its row names, every field optional."""

    def check(self, precision: str) -> None:
        """Raise InputError or UnsupportedError for what the format cannot do."""


@dataclass(frozen=True)
class ExportSpec:
    """What a converter was requested. `format` and `precision` are names of core.formats."""

    format: str
    precision: str = "fp32"
    attention: bool = False  # also a decode step that hands out every layer and head
    extend: int | None = None  # also a step that takes so many tokens at once
    options: Any = None  # of the class that the format's row names; None where it names none

    def bundle_name(self, model: str) -> str:
        """What the bundle of a model is called, wherever it lies."""
        return f"{model}-{self.format}-{self.precision}"


class Candidates(NamedTuple):
    """Precisions to try in turn, of which the first that passes the gate is taken."""

    precisions: tuple[str, ...]
    why: str | None = None  # why the request was narrowed to them


@dataclass(frozen=True)
class ExportRequest:
    """Bundles to write of one model, one for each format. The only home of these defaults."""

    model: str = "S"  # a shipped name, a .safetensors file, or a Hugging Face checkpoint
    formats: tuple[str, ...] = ("tflite",)  # names of edgecap.core.formats
    precision: str = "fp32"  # a name of edgecap.core.formats, or INT8
    output: Path | None = None  # the bundle's directory; with several formats what they lie in
    overwrite: bool = False
    verify: bool = True  # False writes bundles unchecked, and their cards state it
    keep_failed: Path | None = None  # where bundles that fail the gate are kept to be looked at
    scenes: int | None = None  # images that the parity gate compares; None: as many as the model's
    attention: bool = False
    extend: int | None = None
    options: tuple[FormatOptions, ...] = ()  # at most one for a format
    plan: Path | None = None  # of an int8 precision; None: calibration makes one
    calibration: CalibrationSpec = CalibrationSpec()
    # Points that int8 may lose: a search chooses which layers stay wider, and with them the
    # precision, which is "mixed" until then.
    max_drop: float | None = None
    # Of checkpoints: tokens of the longest caption, the words around the image, and the side of its
    # square in px; None: the own.
    max_length: int | None = None
    prompt: str | None = None
    image_size: int | None = None
    data: Path | None = None  # the user's captions that judge the search; None: as the model's
    data_images: Path | None = None  # where the images of `data` are; None: beside it

    def images(self, default: int) -> int:
        """How many the gate compares, `default` being the model's own number."""
        return default if self.scenes is None else self.scenes

    def directory(self, name: str, format_: str) -> Path:
        """Where the bundle of the model called `name` goes; known before the precision may be."""
        precision = INT8 if self.max_drop is not None else self.precision
        own = Path(f"{name}-{format_}-{precision}")
        if self.output is None:
            return own
        return self.output if len(self.formats) == 1 else self.output / own

    def spec(self, row: Format, precision: str) -> ExportSpec:
        """What the converter of a format was requested."""
        options = None
        if row.options is not None:
            kind = load_object(row.options)
            given = [one for one in self.options if isinstance(one, kind)]
            options = given[0] if given else kind()
        return ExportSpec(row.name, precision, self.attention, self.extend, options)

    def check_plan(self, planned: tuple[str, ...], calibrated: bool) -> None:
        """Raise InputError for options of int8 that contradict each other or the precision.

        Args:
            planned: the model's precisions that a plan can be given or calibrated for.
            calibrated: whether options of calibration were given.
        """
        if self.precision not in (INT8, *planned) and (self.plan or calibrated):
            raise InputError(
                "plan.conflict",
                f"{self.precision} takes no plan and needs no calibration.",
                f"Leave those options out, or choose from {', '.join(planned)}.",
            )
        if self.plan is not None and calibrated:
            raise InputError(
                "plan.conflict",
                f"{self.plan} is a finished plan, and calibration would make another.",
                "Give --plan or the options of calibration.",
            )
        if self.precision == "w8" and self.calibration.observer is not None:
            raise InputError(
                "plan.conflict",
                f"w8 fixes no grids for activations, and --observer {self.calibration.observer} "
                "would.",
                "Leave it out, or run with: --precision w8a8",
            )
        if self.data_images is not None and self.data is None:
            raise InputError(
                "max_drop.data",
                "--images is where the images of --data are, and there is no --data.",
                "Give captions with --data, or leave --images out.",
            )
        if self.max_drop is not None:
            self._check_search(self.max_drop)
        elif self.precision == "mixed" and self.plan is None:
            raise InputError(
                "plan.needed",
                "mixed keeps the layers wider that a plan names, and there is no plan.",
                "Give one with --plan, search for one with --max-drop 1, or run with: --int8",
            )
        if self.precision in (INT8, *planned):
            self.calibration.check()

    def _check_search(self, max_drop: float) -> None:
        if not 0 <= max_drop <= 100:  # nan too
            raise InputError(
                "max_drop.range",
                f"a loss is measured in points, 0 to 100, got {max_drop:g}.",
                "For half a point give: --max-drop 0.5",
            )
        if self.plan is not None:
            raise InputError(
                "max_drop.plan",
                f"{self.plan} is a finished plan, and --max-drop searches for one.",
                "Give one of them.",
            )
        if self.precision not in (INT8, "mixed"):
            raise InputError(
                "max_drop.precision",
                f"--max-drop chooses among int8 plans itself, and {self.precision} was requested.",
                "Leave the precision out, or run with: --int8 --max-drop",
            )
