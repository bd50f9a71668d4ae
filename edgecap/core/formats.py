"""The formats and precisions there are, as static tables: listing them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from edgecap.core.choices import pick
from edgecap.core.errors import InputError


@dataclass(frozen=True)
class Format:
    """One kind of artifact."""

    name: str
    suffix: str  # of the model files
    aliases: tuple[str, ...]
    precisions: tuple[str, ...]
    # Precisions in which layers (of w8a8, the heads) quantise by one scale over all that a call
    # gives them: a call must then be one image, or the other images would change its caption.
    dynamic: tuple[str, ...] = ()


INT8_PRECISIONS = ("w8", "w8a8", "mixed")  # those that follow a quantisation plan
_PRECISIONS = ("fp32", "fp16", *INT8_PRECISIONS)

FORMATS: dict[str, Format] = {
    "onnx": Format("onnx", ".onnx", ("ort", "onnxruntime"), _PRECISIONS, INT8_PRECISIONS),
    "tflite": Format("tflite", ".tflite", ("litert", "android"), _PRECISIONS),
    "coreml": Format("coreml", ".mlpackage", ("mlpackage", "ios"), _PRECISIONS),
}

PRECISIONS: dict[str, str] = {
    "fp32": "float32 weights and arithmetic",
    "fp16": "float16 weights: half the size",
    "w8": "int8 weights, float or dynamically quantised activations: a quarter of the size",
    "w8a8": "int8 weights and activations, statically quantised: a quarter of the size, fastest",
    "mixed": "w8a8 with the layers that a plan names kept in higher precision",
}
_PRECISION_ALIASES = {"float32": "fp32", "half": "fp16", "float16": "fp16", "int8": "w8a8"}
ALL = "all"  # in place of the name of a format: each of them


@dataclass(frozen=True)
class Precision:
    """A precision and the reason it was taken, to be printed."""

    name: str
    reason: str


def resolve_format(name: str) -> Format:
    """The format of that name or alias, in any case; InputError for any other."""
    lower = name.lower()
    for known in FORMATS.values():
        if lower in known.aliases:
            return known
    aliases = (alias for known in FORMATS.values() for alias in known.aliases)
    return FORMATS[pick("format", lower, (*FORMATS, *aliases, ALL))]


def resolve_formats(names: str) -> list[str]:
    """The formats of a list with commas, or of "all", each once; InputError as `resolve_format`."""
    if names.strip().lower() == ALL:
        return list(FORMATS)
    return list(dict.fromkeys(resolve_format(name.strip()).name for name in names.split(",")))


def resolve_precision(
    precision: str | None = None,
    *,
    fp32: bool = False,
    fp16: bool = False,
    int8: bool = False,
    searched: bool = False,
) -> Precision:
    """The one precision that an option and its short forms request; fp32 where none does.

    `int8` is w8a8, and agrees with any int8 precision that is named beside it.
    `searched`: a search shall find the plan. Then int8 is free to become any of its precisions, and
    the answer is mixed unless another was requested by name.

    Raises InputError for an unknown name, and where two requests name different precisions.
    """
    if searched:
        int8 = False
        precision = None if (precision or "int8").lower() == "int8" else precision
        if not (precision or fp32 or fp16):
            return Precision("mixed", "a search finds which layers stay in higher precision")
    named = None if precision is None else _by_name(precision)
    requests = {
        "--fp32": "fp32" if fp32 else None,
        "--fp16": "fp16" if fp16 else None,
        "--int8": (named if named in INT8_PRECISIONS else "w8a8") if int8 else None,
        f"--precision {precision}": named,
    }
    given = {flag: name for flag, name in requests.items() if name is not None}
    if len(set(given.values())) > 1:
        raise InputError(
            "precision.conflict",
            f"{' and '.join(given)} request different precisions.",
            "Give one of them.",
        )
    if not given:
        return Precision("fp32", "no precision was requested, and fp32 loses nothing")
    name = next(iter(given.values()))
    if (int8 and named is None) or (precision or "").lower() == "int8":
        return Precision(name, "int8 weights and activations, the fastest int8")
    return Precision(name, f"requested by {' and '.join(given)}")


def _by_name(name: str) -> str:
    lower = name.lower()
    if lower in _PRECISION_ALIASES:
        return _PRECISION_ALIASES[lower]
    return pick("precision", lower, (*PRECISIONS, *_PRECISION_ALIASES))
