"""What only a CoreML export has."""

from __future__ import annotations

from dataclasses import dataclass

from edgecap.core.choices import pick
from edgecap.core.errors import UnsupportedError

# The oldest system a CoreML package must run on. ML programs with int8 weights and float16 outputs
# begin with iOS 16; several functions in a package, and states, with iOS 18 (macOS 15).
TARGETS = ("iOS16", "iOS17", "iOS18")


@dataclass(frozen=True)
class CoremlOptions:
    """The oldest system to run on, and a decode step with a state."""

    target: str = TARGETS[-1]
    stateful: bool = False  # also a decode step whose text rows are a CoreML state

    def check(self, precision: str) -> None:
        """Raise InputError or UnsupportedError for what CoreML cannot do."""
        pick("target", self.target, TARGETS)
        if self.stateful and not self.multifunction:
            raise UnsupportedError(
                "coreml.stateful",
                f"states need {TARGETS[-1]}, and the target is {self.target}.",
                f"Leave out --stateful, or give --target {TARGETS[-1]}.",
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
        return self.target == TARGETS[-1]
