"""What an adapter is: a family's functions in the terms of contract 2, and what belongs to them.

Nothing here knows a family or imports torch. A family is one file: usually a subclass of
`edgecap.models.captioner.CaptionerBase` that defines its encoder and its decode step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from edgecap.bundle.image_spec import ImageSpec
from edgecap.bundle.interface import Interface, TensorSpec
from edgecap.models.checkpoint import Checkpoint
from edgecap.models.generation import Generation
from edgecap.models.images import PixelScaling

if TYPE_CHECKING:
    from torch import nn

    from edgecap.runtime.image_processing import ModelInput


@dataclass(frozen=True)
class GraphFunction:
    """One graph to export.

    `module` takes the inputs in their order and returns the outputs in theirs (one tensor bare,
    several as a tuple). It holds the family's model as `module.model`, so that a parameter has the
    path of the checkpoint behind `model.`; functions share their parameters.
    """

    name: str
    module: nn.Module
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


@dataclass(frozen=True)
class Keep:
    """Why a layer is not rounded like the others."""

    kind: str  # float: not rounded; weights: they alone; dynamic: inputs as they come, outputs not
    reason: str
    precision: str | None = None  # w8 or w8a8, where it is so in one of them only


@dataclass(frozen=True)
class ValuePair:
    """A linear some of whose outputs reach another linear through nothing but weighted sums.

    The values of an attention do: what they are divided by, the other's columns can be multiplied
    by. Rows `first` to `first + count` of `source` are the columns of `reader`.
    """

    source: str
    first: int
    count: int
    reader: str


@dataclass(frozen=True)
class QuantSpec:
    """What a quantiser must know of a family, by parameter path in the model.

    keep: glob of module paths -> how and why it stays wider.
    smoothing: a norm, and the linears that alone read it: the norm's scale may move into them.
    values: the same for the values of an attention and the linear behind it.
    tied: two paths of one table, the embedding first; twice the same where the head is no module.
    """

    keep: dict[str, Keep] = field(default_factory=dict)
    smoothing: tuple[tuple[str, tuple[str, ...]], ...] = ()
    values: tuple[ValuePair, ...] = ()
    tied: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Limits:
    """How a reference caption is generated."""

    new_tokens: int
    banned: tuple[int, ...] = ()
    cache: bool = True  # transformers' own
    shipped: bool = False  # with the checkpoint's beams, n-grams, forced tokens; else plain greedy


class Adapter(Protocol):
    """A checkpoint of one family, loaded."""

    name: str  # of the family
    license: str  # of the weights, as the checkpoint states; "unknown" where it does not
    source: str  # what the checkpoint is called
    checkpoint: Checkpoint
    model: Any  # of transformers, in eval mode
    interface: Interface
    image: ImageSpec
    scaling: PixelScaling  # from bytes to what the model sees; part of encode's graph
    generation: Generation | None  # None: embeds only
    quant: QuantSpec
    note: str  # what a bundle does otherwise than transformers, for its card; "" where nothing
    regions: str | None  # codec of the boxes that it writes (edgecap.bundle.regions_spec)

    def functions(self) -> tuple[GraphFunction, ...]:
        """Every function of the interface."""
        ...

    def reference(
        self, images: Sequence[ModelInput], prompt: tuple[int, ...], limits: Limits
    ) -> list[list[int]]:
        """What transformers' own `generate` answers.

        Args:
            images: processed up to scaling.
            prompt: the first tokens, as in `generation.prompts`.
            limits: of generation.

        Returns:
            The ids behind the prompt of each image, with the end token where there is one.
        """
        ...
