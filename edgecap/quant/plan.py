"""The quantisation plan: one JSON file that sets how every linear layer is rounded.

A layer bears its module path (`blocks.3.qkv`); the output head, which is the token table, is
`token`. It is of one of four kinds:

    w8a8        int8 weights; input and output on fixed int8 grids, one pair for each function
    w8          int8 weights; the input is rounded as it comes or not at all; the output stays float
    w8_dequant  int8 weights, widened before they are used; input and output stay float
    fp32        as it was

Weights are int8, symmetric, with one scale per row (rounding.rows); they follow from the float
weights and are not in the plan. A w8a8 layer's output is rounded in units of its row's scale: the
integer n of row r stands for (n - zero_point) * scale * row_scale[r]. So every kernel sees weights
of scale 1, and rows of small weights keep as many steps as rows of large ones.

Before that, the input channels of some layers are divided by `smoothing` and their weights
multiplied by it (smooth.py).

Letters: N outputs (rows), D inputs of a linear layer.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgecap.bundle.files import PLAN
from edgecap.bundle.interface import DECODE, ENCODE, ENCODE_CROP, ENCODE_TEXT
from edgecap.bundle.schema1 import FUNCTIONS
from edgecap.core.atomic import write_file
from edgecap.core.digest import file_sha256
from edgecap.core.errors import BundleError, InputError
from edgecap.core.typed import decode, dump, read_json
from edgecap.quant.params import HIGH, LOW, QuantParams

SCHEMA = 1
_FUNCTIONS = {*FUNCTIONS, ENCODE_CROP, ENCODE, DECODE, ENCODE_TEXT}
FILE = PLAN
KINDS = ("w8a8", "w8", "w8_dequant", "fp32")
QuantParamKey = tuple[str, str, str]  # of a grid: layer, function, "input" or "output"
_REMAKE = "Make a plan for these weights: export without --plan."


@dataclass(frozen=True)
class Activations:
    """The grids of one layer in one function."""

    input: QuantParams
    output: QuantParams  # in units of the row's scale


@dataclass(frozen=True)
class Layer:
    """How one linear layer is rounded."""

    kind: str
    functions: dict[str, Activations]  # of the contract; empty unless w8a8


@dataclass(frozen=True)
class Calibration:
    """What the grids were measured on."""

    data: str  # "shipped" or the name of a directory
    images: int
    seed: int
    observer: str


@dataclass(frozen=True)
class Plan:
    """How a model is rounded; made for the weights of one file and for no others."""

    schema: int
    model: str
    weights: str  # hex SHA-256 of the weights file
    calibration: Calibration
    smoothing: dict[str, tuple[float, ...]]  # layer -> divisor of each input channel, [D]
    layers: dict[str, Layer]
    # precision -> layer -> kind, of the layers that are not rounded as that precision sets
    exceptions: dict[str, dict[str, str]]

    def default_kind(self, layer: str, precision: str) -> str:
        """The kind of a layer in a plan of w8 or w8a8 by default."""
        return self.exceptions.get(precision, {}).get(layer, precision)

    @property
    def precision(self) -> str:
        """w8a8 or w8 as calibration makes them, mixed where more layers are kept wider."""
        for precision in ("w8a8", "w8"):
            if all(one.kind == self.default_kind(n, precision) for n, one in self.layers.items()):
                return precision
        return "mixed"

    def summary(self) -> dict[str, Any]:
        """The plan's summary for a manifest, in JSON's types."""
        kinds = Counter(layer.kind for layer in self.layers.values())
        return {
            "file": FILE,
            "layers": {kind: kinds[kind] for kind in KINDS if kinds[kind]},
            "calibration": asdict(self.calibration),
        }

    def grids(self, layer: str, function: str) -> Activations | None:
        """Those of one layer in one function; None where its kind has none.

        Raises InputError where the plan forgot them.
        """
        how = self.layers[layer]
        if how.kind == "w8a8" and function not in how.functions:
            raise InputError("plan.layers", f"the plan has no grids for {layer} in {function}.")
        return how.functions.get(function)


def fingerprint(weights: Path) -> str:
    """What a plan remembers of a weights file: its hex SHA-256."""
    return file_sha256(weights)


def fingerprint_of(plan: Plan) -> str:
    """The hex SHA-256 of a plan's file."""
    return hashlib.sha256(dump(plan)).hexdigest()


def write_plan(plan: Plan, path: Path) -> None:
    """Write the plan, the same bytes for the same plan; complete or not at all."""
    write_file(path, dump(plan))


def read_plan(path: Path) -> Plan:
    """A checked plan; InputError, code plan.*, for a file that is not one."""
    try:
        value = read_json(path, path.name)
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            found = value.get("schema") if isinstance(value, dict) else None
            raise InputError(
                "plan.schema",
                f"{path.name} has plan schema {found!r}; this edgecap reads schema {SCHEMA}.",
                _REMAKE,
            )
        plan = decode(Plan, _renamed(value), path.name)
    except OSError as error:
        raise InputError("plan.missing", f"{path} cannot be read: {error.strerror}.") from None
    except BundleError as error:
        code = "plan." + error.code.removeprefix("bundle.")
        raise InputError(code, error.message, error.hint) from None
    _check(plan, path.name)
    return plan


def _renamed(value: dict[str, Any]) -> dict[str, Any]:
    """As plans are today: w8_dequant was w8f, and the reference's exceptions were not written."""
    layers = value.get("layers")
    if "exceptions" not in value and isinstance(layers, dict):
        from edgecap.reference.quant import unwritten_exceptions

        value["exceptions"] = unwritten_exceptions(layers)
    for layer in layers.values() if isinstance(layers, dict) else ():
        if isinstance(layer, dict) and layer.get("kind") == "w8f":
            layer["kind"] = "w8_dequant"
    return value


def check_weights(plan: Plan, model: str, weights: str) -> None:
    """Raise InputError unless the plan was made for these weights; `weights` as in the plan."""
    if plan.weights != weights:
        raise InputError(
            "plan.weights",
            f"the plan was made for other weights ({plan.model}, SHA-256 {plan.weights[:12]}…) "
            f"than {model}'s.",
            _REMAKE,
        )


def check_layers(plan: Plan, widths: dict[str, int]) -> None:
    """Raise InputError unless the plan names these layers; `widths` is layer -> D."""
    missing, unknown = widths.keys() - plan.layers.keys(), plan.layers.keys() - widths.keys()
    if missing or unknown:
        what = f"lacks {min(missing)}" if missing else f"names {min(unknown)}, which is not there"
        raise InputError("plan.layers", f"the plan {what}.", _REMAKE)
    for name, factors in plan.smoothing.items():
        if widths.get(name) != len(factors):
            raise InputError(
                "plan.layers", f"the plan's smoothing does not fit the layer {name}.", _REMAKE
            )


def _check(plan: Plan, where: str) -> None:
    """Raise InputError unless the plan agrees with itself."""

    def bad(what: str) -> InputError:
        return InputError("plan.invalid", f"{where}: {what}.", _REMAKE)

    for name, layer in plan.layers.items():
        if layer.kind not in KINDS:
            raise bad(f"{name} is of kind {layer.kind!r}; allowed: {', '.join(KINDS)}")
        if (layer.kind == "w8a8") != bool(layer.functions):
            raise bad(f"{name} is {layer.kind} and has grids for {len(layer.functions)} functions")
        for function, grids in layer.functions.items():
            if function not in _FUNCTIONS:
                raise bad(f"{name} has grids for the unknown function {function!r}")
            for grid in (grids.input, grids.output):
                if grid.scale <= 0 or not LOW <= grid.zero_point <= HIGH:
                    raise bad(f"{name} has a grid of scale {grid.scale}, zero {grid.zero_point}")
    for name, factors in plan.smoothing.items():
        if not factors or min(factors) <= 0:
            raise bad(f"the smoothing of {name} must be positive")
