"""What an export is to make. The only home of its defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PARITY_SCENES = 64


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
    tokenizer: Path | None = None  # None: the one that came with the package

    def directory(self, name: str) -> Path:
        """Where the bundle of the model called `name` goes."""
        return self.output or Path(f"{name}-{self.format}-{self.precision}")
