"""The error classes. Messages state what was got and what is allowed; hints, what to run next.

EdgecapError            exit 2
├── InputError          an invalid image, text, option or path
├── BundleError         a bundle that is missing, altered, truncated or otherwise invalid
├── UnsupportedError    an unsupported combination, refused before work starts
├── MissingPackageError a runtime or converter that is not installed or does not work
└── GateError           exit 1: the work is complete but the result is not good enough
"""

from __future__ import annotations

_OUT_OF_MEMORY = (
    "out of memory",
    "allocate memory",
    "failed to allocate",
    "bad_alloc",
    "bad allocation",
)


class EdgecapError(Exception):
    """An error with a stable code, a one-line message and a hint naming the next command."""

    exit_code = 2

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}" + (f" {self.hint}" if self.hint else "")


class InputError(EdgecapError):
    """The caller's input is invalid."""


class BundleError(EdgecapError):
    """A bundle is invalid or damaged."""


class UnsupportedError(EdgecapError):
    """A request is not supported."""


class MissingPackageError(EdgecapError):
    """A required package is not installed, or does not work."""


class GateError(EdgecapError):
    """A result was computed but is not good enough."""

    exit_code = 1


def one_line(error: BaseException) -> str:
    """The message of another package's exception, as one sentence of at most 200 characters."""
    text = " ".join(str(error).split())
    return (text[:200] or type(error).__name__).rstrip(".") + "."


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means out of memory: engines have no common class for it."""
    message = str(error).lower()
    return isinstance(error, MemoryError) or any(words in message for words in _OUT_OF_MEMORY)
