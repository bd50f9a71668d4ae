"""The operations of MIL in NumPy, by name.

Each kernel takes a MIL operation's inputs by their MIL names and returns its output, or a tuple of
outputs. Semantics follow the definitions in coremltools (converters/mil/mil/ops/defs); optional
inputs have MIL's defaults. A kernel never writes into its inputs.
"""

from __future__ import annotations

from edgecap.mil.ops import (
    activation,
    attention,
    binary,
    compression,
    conv,
    indexing,
    layout,
    linear,
    normalisation,
    pooling,
    reduction,
    resizing,
    sequence,
    slicing,
    state,
    unary,
)
from edgecap.mil.ops.registry import Kernel, Registry

KERNELS: dict[str, Kernel] = Registry.merge(
    each.OPS
    for each in (
        activation,
        attention,
        binary,
        compression,
        conv,
        indexing,
        layout,
        linear,
        normalisation,
        pooling,
        reduction,
        resizing,
        sequence,
        slicing,
        state,
        unary,
    )
)
