"""Layer norms in the fewest operators of TFLite, which has none for the whole.

The converter computes x r - m r, with r of the squared differences of x and its mean m. From the
centred x, as here, two operators less do: a step of a decoder has two or three norms a layer, and
each operator costs as much as a small product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def centred_layer_norms() -> Iterator[None]:
    """Within, torch.nn.functional.layer_norm is written out. For one thread of the process."""
    from torch.nn import functional

    original = functional.layer_norm
    functional.layer_norm = _layer_norm
    try:
        yield
    finally:
        functional.layer_norm = original


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    centred = input - input.mean(axes, keepdim=True)
    y = centred * ((centred * centred).mean(axes, keepdim=True) + eps).rsqrt()
    y = y if weight is None else y * weight
    return y if bias is None else y + bias
