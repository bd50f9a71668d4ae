"""Moving outliers from activations, which int8 rounds coarsely, into weights.

A channel of a linear layer's input is divided by s and the matching column of its weights is
multiplied by it (SmoothQuant, arXiv 2211.10438). The division is free where something linear comes
before: the gain of a norm, or the value rows of an attention. In float nothing changes. What comes
before what the family defines (QuantSpec.smoothing, QuantSpec.values).

Letters: D width, N outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from edgecap.core.errors import InputError
from edgecap.models.adapter import QuantSpec, ValuePair
from edgecap.quant.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

STRENGTH = 0.5  # share of the burden that goes to the weights, as in the paper


def pairs(spec: QuantSpec) -> Iterator[tuple[str | ValuePair, tuple[str, ...]]]:
    """What takes the division, and the linears that read it."""
    yield from spec.smoothing
    yield from ((pair, (pair.reader,)) for pair in spec.values)


def smoothable(spec: QuantSpec) -> set[str]:
    """The layers that something linear comes before."""
    return {reader for _, readers in pairs(spec) for reader in readers}


def factors(subject: Subject, largest: Mapping[str, Tensor]) -> dict[str, tuple[float, ...]]:
    """s [D] of every layer that can be smoothed, the same for all readers of one norm.

    `largest` gives, by layer, the largest absolute value [D] of each input channel.
    """
    import torch

    found: dict[str, tuple[float, ...]] = {}
    weights = subject.weights()
    for _, readers in pairs(subject.spec):
        if any(reader not in largest for reader in readers):
            continue  # no function runs it
        column = torch.stack([weights[r].abs().amax(0) for r in readers]).amax(0)  # [D]
        activations = torch.stack([largest[r] for r in readers]).amax(0)  # [D]
        column = column.clamp_min(1e-5)
        s = activations.clamp_min(1e-5) ** STRENGTH / column ** (1 - STRENGTH)  # [D]
        found |= dict.fromkeys(readers, tuple(s.clamp(1e-2, 1e2).tolist()))
    return found


def smooth(subject: Subject, divisors: Mapping[str, Sequence[float]]) -> Subject:
    """A copy that gives the same outputs and rounds better; `divisors` [D] by layer.

    What does not change is shared. Raises InputError where the divisors are not for this model.
    """
    import torch

    todo = [(source, readers) for source, readers in pairs(subject.spec) if readers[0] in divisors]
    _check(subject, divisors)
    sources = [s.source if isinstance(s, ValuePair) else s for s, _ in todo]
    smoothed = subject.with_own({*sources, *(r for _, readers in todo for r in readers)})
    weights = smoothed.weights()
    with torch.no_grad():
        for source, readers in todo:
            s = torch.tensor(divisors[readers[0]])  # [D]
            for reader in readers:
                weights[reader].mul_(s)  # [N,D]
            if isinstance(source, ValuePair):
                rows = slice(source.first, source.first + source.count)
                weights[source.source][rows].div_(s[:, None])  # [D,D']
                bias = smoothed.model.get_submodule(source.source).bias
                shift = None if bias is None else bias[rows]
            else:
                norm = smoothed.model.get_submodule(source)
                norm.weight.div_(s)  # [D]
                shift = getattr(norm, "bias", None)  # an RMSNorm has none
            if shift is not None:
                shift.div_(s)
    return smoothed


def _check(subject: Subject, divisors: Mapping[str, Sequence[float]]) -> None:
    """Raise InputError unless the divisors fit, alike for all that read one norm."""
    can, widths = smoothable(subject.spec), subject.widths()
    for name, values in divisors.items():
        if name not in can or widths.get(name) != len(values):
            raise InputError(
                "plan.layers",
                f"the plan's smoothing does not fit the layer {name}.",
                "Make a plan for these weights: export without --plan.",
            )
    for _, readers in pairs(subject.spec):
        if len({tuple(divisors[r]) if r in divisors else None for r in readers}) > 1:
            raise InputError(
                "plan.layers",
                f"the plan smooths {', '.join(readers)} differently, which read the same inputs.",
                "Make a plan for these weights: export without --plan.",
            )
