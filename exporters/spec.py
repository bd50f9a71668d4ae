"""What an export is to make. The only home of its defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecap.core.choices import pick
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.core.formats import INT8_PRECISIONS
from edgecap.quant.samples import CalibrationSpec

PARITY_SCENES = 64
# The oldest system a CoreML package must run on. ML programs with int8 weights and float16 outputs
# begin with iOS 16; several functions in a package, and states, with iOS 18 (macOS 15).
COREML_TARGETS = ("iOS16", "iOS17", "iOS18")


@dataclass(frozen=True)
class CoremlOptions:
    """What only CoreML has."""

    target: str = COREML_TARGETS[-1]
    stateful: bool = False  # also a decode step whose text rows are a CoreML state

    def check(self, precision: str) -> None:
        """Raise InputError or UnsupportedError for what CoreML cannot do."""
        pick("target", self.target, COREML_TARGETS)
        if self.stateful and not self.multifunction:
            raise UnsupportedError(
                "coreml.stateful",
                f"states need {COREML_TARGETS[-1]}, and the target is {self.target}.",
                f"Leave out --stateful, or give --target {COREML_TARGETS[-1]}.",
            )
        if self.stateful and precision == "fp32":
            raise UnsupportedError(
                "coreml.stateful",
                "CoreML states are float16, and the precision is fp32.",
                "Run with: --fp16 --stateful",
            )

    @property
    def multifunction(self) -> bool:
        """One package with all functions, instead of one each."""
        return self.target == COREML_TARGETS[-1]


@dataclass(frozen=True)
class ExportSpec:
    """One bundle to write. `format` and `precision` are names of edgecap.core.formats."""

    model: str = "S"  # a shipped name, or the path of a .safetensors file
    format: str = "tflite"
    precision: str = "fp32"
    output: Path | None = None  # None: <model>-<format>-<precision> in the working directory
    overwrite: bool = False
    verify: bool = True  # False writes the bundle unchecked, and its card says so
    scenes: int = PARITY_SCENES  # that the parity gate compares
    attention: bool = False  # also a decode step that hands out every layer and head
    coreml: CoremlOptions = CoremlOptions()
    plan: Path | None = None  # of an int8 precision; None: calibration makes one
    calibration: CalibrationSpec = CalibrationSpec()
    # Points of exact scenes that int8 may lose: a search chooses which layers stay wider, and with
    # them the precision, which is "mixed" until then.
    max_drop: float | None = None

    def directory(self, name: str) -> Path:
        """Where the bundle of the model called `name` goes."""
        precision = self.precision if self.max_drop is None else "int8"
        return self.output or Path(f"{name}-{self.format}-{precision}")

    def check_plan(self) -> None:
        """Raise InputError for options of int8 that contradict each other or the precision."""
        calibrated = self.calibration != CalibrationSpec()
        if self.precision not in INT8_PRECISIONS and (self.plan or calibrated):
            raise InputError(
                "plan.conflict",
                f"{self.precision} rounds by no plan and needs no calibration.",
                f"Leave those options out, or choose from {', '.join(INT8_PRECISIONS)}.",
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
        if self.max_drop is not None:
            self._check_search(self.max_drop)
        elif self.precision == "mixed" and self.plan is None:
            raise InputError(
                "plan.needed",
                "mixed keeps the layers wider that a plan names, and there is no plan.",
                "Give one with --plan, or run with: --precision w8a8",
            )
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
        if self.precision != "mixed":
            raise InputError(
                "max_drop.precision",
                f"--max-drop chooses among int8 plans itself, and {self.precision} is asked for.",
                "Leave the precision out, or run with: --int8 --max-drop",
            )
