"""The formats and precisions as static tables: listing them imports nothing heavy.

A format is one row, used by all code that exports, runs, inspects, benchmarks or lists formats.
Rows refer to code by strings ("module:function"), so this layer imports no higher one. Another
package adds a row through the entry-point group `edgecap.formats`:

    [project.entry-points."edgecap.formats"]
    openvino = "edgecap_openvino:FORMAT"    # a Format

Such a module only needs `from edgecap.core.formats import Format, Backend`.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgecap.core.choices import pick
from edgecap.core.errors import InputError

GROUP = "edgecap.formats"  # the entry-point group of formats in other packages


@dataclass(frozen=True)
class Package:
    """A package that an engine or a converter needs."""

    name: str  # for pip
    module: str  # for import
    install: str  # the command that installs it


@dataclass(frozen=True)
class Backend:
    """One way to run the bundles of a format."""

    name: str
    session: str  # "module:function" of (bundle, threads) -> FunctionSession
    packages: tuple[Package, ...]  # the first that is installed is used
    platform: str | None = None  # sys.platform of the only system it works on; None: all
    takes_threads: bool = True  # False: it schedules its work itself
    automatic: bool = True  # False: must be requested by name, since it is untested on a device
    evaluator: bool = False  # a correctness evaluator, not at device speed: never benchmarked
    note: str = ""  # one line, logged once if `auto` selects it


@dataclass(frozen=True)
class Format:
    """One model format: the code that writes, runs and reads it."""

    name: str
    suffix: str  # of the model files
    aliases: tuple[str, ...]
    precisions: tuple[str, ...]
    converter: str  # "module:function" of (model, ExportSpec, directory, plan) -> name: Function
    backends: tuple[Backend, ...]  # in order of preference
    tools: tuple[Package, ...]  # packages that write it; their versions go into the manifest
    needs: tuple[str, ...]  # modules that the converter imports; checked before work starts
    engine: str | None = None  # module of the gate's engine, if not in `needs`
    gate: str = "auto"  # backend that the parity gate uses
    batch: int | None = 1  # images per call of its graphs; None: any number
    # Precisions with dynamically quantised layers whose scale depends on all inputs of a call: a
    # call must hold one image, or other images would change its caption.
    dynamic: tuple[str, ...] = ()
    half_cache: tuple[str, ...] = ()  # precisions whose cache is float16
    options: str | None = None  # "module:class" of format-specific options
    inspector: str | None = None  # "module:function" of (path) -> inspection.contents.Contents
    install: str = "pip install 'edgecap[export]'"  # installs `needs` and `engine`

    def batch_at(self, precision: str) -> int | None:
        """Images per call of the graphs of a precision; None: any number."""
        return 1 if precision in self.dynamic else self.batch


INT8 = "int8"  # a request: the first of INT8_CANDIDATES that passes the parity gate
INT8_CANDIDATES = ("w8a8", "w8")
INT8_PRECISIONS = ("w8", "w8a8", "mixed")  # precisions with a quantisation plan
STATIC_PRECISIONS = ("w8a8", "mixed")  # those with fixed grids of activations
_PRECISIONS = ("fp32", "fp16", *INT8_PRECISIONS)
_EXPORT = "pip install 'edgecap[export]'"
_TORCH = Package("torch", "torch", "pip install 'edgecap[torch]'")
_COREMLTOOLS = Package("coremltools", "coremltools", "pip install 'edgecap[coreml]'")

_OWN: dict[str, Format] = {
    "onnx": Format(
        name="onnx",
        suffix=".onnx",
        aliases=("ort", "onnxruntime"),
        precisions=_PRECISIONS,
        converter="edgecap.exporters.onnx.convert:export",
        tools=(
            _TORCH,
            Package("onnx", "onnx", _EXPORT),
            Package("onnxscript", "onnxscript", _EXPORT),
        ),
        needs=("torch", "onnx", "onnxscript"),
        engine="onnxruntime",
        batch=None,
        dynamic=("w8", "mixed"),  # the heads of w8a8 have a scale for each image
        inspector="edgecap.inspection.onnx:read",
        backends=(
            Backend(
                "onnx",
                "edgecap.runtime.backends.onnx:open_session",
                (Package("onnxruntime", "onnxruntime", "pip install 'edgecap[onnx]'"),),
            ),
        ),
    ),
    "tflite": Format(
        name="tflite",
        suffix=".tflite",
        aliases=("litert", "android"),
        precisions=_PRECISIONS,
        converter="edgecap.exporters.tflite.convert:export",
        tools=(_TORCH, Package("litert-torch", "litert_torch", _EXPORT)),
        needs=("torch", "ai_edge_litert.interpreter", "litert_torch"),
        inspector="edgecap.inspection.tflite:read",
        backends=(
            Backend(
                "tflite",
                "edgecap.runtime.backends.tflite:open_session",
                (
                    Package(
                        "ai-edge-litert",
                        "ai_edge_litert.interpreter",
                        "pip install 'edgecap[tflite]'",
                    ),
                    # The last one, of 2023, was built for numpy 1.
                    Package(
                        "tflite-runtime",
                        "tflite_runtime.interpreter",
                        "pip install tflite-runtime 'numpy<2'",
                    ),
                    Package("tensorflow", "tensorflow", "pip install tensorflow"),
                ),
            ),
        ),
    ),
    "coreml": Format(
        name="coreml",
        suffix=".mlpackage",
        aliases=("mlpackage", "ios"),
        precisions=_PRECISIONS,
        converter="edgecap.exporters.coreml.convert:export",
        options="edgecap.exporters.coreml.options:CoremlOptions",
        tools=(_TORCH, _COREMLTOOLS),
        needs=("torch", "coremltools"),
        gate="mlprogram",  # on a Mac too: the same result on every machine
        half_cache=("fp16", *INT8_PRECISIONS),  # it computes in float16
        inspector="edgecap.inspection.mlpackage:read",
        backends=(
            Backend(
                "coreml",
                "edgecap.runtime.backends.coreml:open_session",
                (_COREMLTOOLS,),
                platform="darwin",
                takes_threads=False,
                automatic=False,
            ),
            Backend(
                "mlprogram",
                "edgecap.runtime.backends.mlprogram:open_session",
                (Package("numpy", "numpy", "pip install numpy"),),
                takes_threads=False,
                evaluator=True,
                note="this CoreML program is evaluated in NumPy (backend mlprogram): results are "
                "valid, speed is not. On macOS, backend coreml runs CoreML itself; bundles have "
                "not been tested on a Mac yet",
            ),
        ),
    ),
}


class _Rows(Mapping[str, Format]):
    """edgecap's own rows and those of other packages, which are loaded on first need."""

    def __init__(self, own: Mapping[str, Format]) -> None:
        self._own = own
        self._known: dict[str, Format] | None = None

    def _all(self) -> dict[str, Format]:
        if self._known is None:
            self._known = dict(self._own)
            if not _any_declared():
                return self._known
            from importlib.metadata import entry_points  # takes tens of ms, rarely needed

            for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
                try:
                    row = entry.load()
                    _check_row(entry.name, row, self._known)
                except Exception as error:  # third-party code; edgecap's formats work without it
                    logging.getLogger("edgecap").warning(
                        "edgecap: format %s from %s is ignored: %s",
                        entry.name,
                        entry.value,
                        error,
                    )
                else:
                    self._known[row.name] = row
        return self._known

    def __getitem__(self, name: str) -> Format:
        return self._own[name] if name in self._own else self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _any_declared() -> bool:
    """Whether an installed package may declare a format; a fast look, without its metadata read."""
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except NotADirectoryError:  # a zip file, which importlib.metadata can read
            return True
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                try:
                    data = Path(folder, name, "entry_points.txt").read_bytes()
                except OSError:
                    continue
                if GROUP.encode() in data:
                    return True
    return False


def _check_row(name: str, row: Any, known: Mapping[str, Format]) -> None:
    """Raise ValueError for an invalid row, or one that conflicts with another row."""
    if not isinstance(row, Format) or row.name != name:
        raise ValueError(f"it is {row!r}, not a Format named {name!r}")
    if {one.name for one in row.backends} & {"auto", "torch"}:
        raise ValueError("its backends may not be called auto or torch")
    for other in known.values():
        words = {other.name, *other.aliases} & {row.name, *row.aliases}
        words |= {b.name for b in other.backends} & {b.name for b in row.backends}
        if words or other.suffix == row.suffix:
            what = ", ".join(sorted(words)) or row.suffix
            raise ValueError(f"{what} is already used by format {other.name}")


FORMATS: Mapping[str, Format] = _Rows(_OWN)


def use_backend(format_: str, backend: Backend) -> None:
    """Prefer this backend for a format of edgecap's own, in this process: to measure engines."""
    row = _OWN[format_]
    _OWN[format_] = replace(row, backends=(backend, *row.backends))


def backends() -> dict[str, Backend]:
    """Every backend by name, in order of preference. PyTorch is not a backend of bundles."""
    return {one.name: one for row in FORMATS.values() for one in row.backends}


def load_object(place: str) -> Any:
    """Import the object that a row refers to as "module:name"."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


PRECISIONS: dict[str, str] = {
    "fp32": "float32 weights and arithmetic",
    "fp16": "float16 weights: half the size",
    "w8": "int8 weights, float or dynamically quantised activations: a quarter of the size",
    "w8a8": "int8 weights and activations, statically quantised: a quarter of the size, fastest",
    "mixed": "w8a8 with the layers that a plan names kept in higher precision",
}
_PRECISION_ALIASES = {"float32": "fp32", "half": "fp16", "float16": "fp16", "int8": INT8}
ALL = "all"  # instead of a format's name: every format


@dataclass(frozen=True)
class Precision:
    """A precision and the reason it was selected, to be printed."""

    name: str
    reason: str


def resolve_format(name: str) -> Format:
    """The format with that name or alias, ignoring case; InputError for any other name."""
    lower = name.lower()
    for known in FORMATS.values():
        if lower in known.aliases:
            return known
    aliases = (alias for known in FORMATS.values() for alias in known.aliases)
    return FORMATS[pick("format", lower, (*FORMATS, *aliases, ALL))]


def resolve_formats(names: str) -> list[str]:
    """The formats of a comma-separated list, or "all"; each once. Errors as in `resolve_format`."""
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
    """The precision that --precision and its short forms request; by default fp32.

    `int8` means INT8, and is compatible with any int8 precision that is also named.
    `searched`: a search will find the plan. Then int8 may become any int8 precision, and the result
    is mixed unless another precision was requested by name.

    Raises InputError for an unknown name, or if two options request different precisions.
    """
    if searched:
        int8 = False
        precision = None if (precision or "int8").lower() == "int8" else precision
        if not (precision or fp32 or fp16):
            return Precision("mixed", "a search selects the layers that stay in higher precision")
    named = None if precision is None else _by_name(precision)
    requests = {
        "--fp32": "fp32" if fp32 else None,
        "--fp16": "fp16" if fp16 else None,
        "--int8": (named if named in INT8_PRECISIONS else INT8) if int8 else None,
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
        return Precision("fp32", "no precision was requested, and fp32 is exact")
    name = next(iter(given.values()))
    if (int8 and named is None) or (precision or "").lower() == "int8":
        return Precision(name, "w8a8 if it is close enough to PyTorch, otherwise w8")
    return Precision(name, f"requested by {' and '.join(given)}")


def _by_name(name: str) -> str:
    lower = name.lower()
    if lower in _PRECISION_ALIASES:
        return _PRECISION_ALIASES[lower]
    return pick("precision", lower, (*PRECISIONS, *_PRECISION_ALIASES))
