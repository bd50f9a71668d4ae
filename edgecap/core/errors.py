"""One error tree. Every error a user can meet says what was got, what is allowed, what to run next.

EdgecapError            exit 2
├── InputError          an image, text, option or path that cannot be used
├── BundleError         a bundle that is missing, altered, truncated or foreign
├── UnsupportedError    an impossible combination, refused before work starts
├── MissingPackageError a runtime or converter that is not installed or does not work
└── GateError           exit 1: the work was done and the result is not good enough
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
    """What the caller gave cannot be used."""


class BundleError(EdgecapError):
    """A bundle that cannot be trusted."""


class UnsupportedError(EdgecapError):
    """A combination that no work could make possible."""


class MissingPackageError(EdgecapError):
    """A package that the request needs is not installed, or does not work."""


class GateError(EdgecapError):
    """A result that was computed and found not good enough."""

    exit_code = 1


def one_line(error: BaseException) -> str:
    """What an exception of another package says, as one sentence of at most 200 characters."""
    text = " ".join(str(error).split())
    return (text[:200] or type(error).__name__).rstrip(".") + "."


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is an allocator's: engines share no class for it, torch's CPU has none."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _OUT_OF_MEMORY)
