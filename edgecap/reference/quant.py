"""How the reference captioner is rounded, as data; and the quantiser's calls for its model.

Figures: benchmarks/LOG.md, 2026-11-23 and -25. Residual sums, LayerNorm, GELU and softmax stay
float: they are not linear layers and get no grid. The rows of location tokens need no more than
the others.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgecap.models.adapter import Keep, QuantSpec, ValuePair
from edgecap.quant.layers import LayerInfo, exceptions
from edgecap.quant.subject import Subject, shared
from edgecap.reference.config import CaptionerConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgecap.quant.calibration_set import CalibrationSet
    from edgecap.quant.hooks import LinearHook
    from edgecap.quant.plan import Plan
    from edgecap.quant.samples import CalibrationSpec
    from edgecap.reference.model.captioner import CaptionModel

HEAD = "token"  # the word table, which is the output head
_ONE_ROW = "sees one row a call: rounding its input as it comes costs nothing, int8 outputs do"
_KEEP = {
    # Int8 outputs were the largest error of the first layers (5 % of the keys, where int8 weights
    # alone cost 0.4 %), and each engine rounds inputs as they come in its own way, so that formats
    # parted by 2.8 % in layer 0.
    "patch": Keep("weights", "sees raw pixels"),
    "image_embedding": Keep("dynamic", _ONE_ROW),
    "text_embedding": Keep("dynamic", _ONE_ROW),
    # Of what a call of encode rounds together, the largest value is up to 34 and 8 times the root
    # mean square; at most 6 times before other layers (benchmarks/LOG.md, 2026-11-29).
    "*.mlp_out": Keep("weights", "one large output of GELU leaves a call's others few steps", "w8"),
    "*.attention_out": Keep("weights", "a few large rows leave a call's others few steps", "w8"),
}


def spec_of(config: CaptionerConfig) -> QuantSpec:
    """What the quantiser must know of a reference captioner."""
    D, blocks = config.width, [f"blocks.{i}" for i in range(config.layers)]
    norms = [(f"{b}.attention_norm", (f"{b}.qkv",)) for b in blocks]
    norms += [(f"{b}.mlp_norm", (f"{b}.mlp_in",)) for b in blocks]
    return QuantSpec(
        keep=dict(_KEEP),
        smoothing=tuple(norms),
        values=tuple(ValuePair(f"{b}.qkv", 2 * D, D, f"{b}.attention_out") for b in blocks),
        tied=((HEAD, HEAD),),
    )


def default_exceptions(layers: Iterable[str]) -> dict[str, dict[str, str]]:
    """As `Subject.exceptions`, from the names of the layers alone."""
    return _exceptions(layers, _KEEP)


def unwritten_exceptions(layers: Iterable[str]) -> dict[str, dict[str, str]]:
    """Those of old plans, which do not name them: attention_out was as others then."""
    return _exceptions(layers, {n: k for n, k in _KEEP.items() if n != "*.attention_out"})


def _exceptions(layers: Iterable[str], keep: Mapping[str, Keep]) -> dict[str, dict[str, str]]:
    known = {n: LayerInfo(n, "head" if n == HEAD else "linear") for n in layers}
    return exceptions(known, QuantSpec(keep=dict(keep)))


def default_kind(layer: str, precision: str) -> str:
    """The kind of a layer by default; `precision` is w8 or w8a8."""
    return default_exceptions([layer])[precision].get(layer, precision)


class ReferenceSubject(Subject):
    """The reference captioner; its calibration replays call the model's own methods."""

    model: CaptionModel

    def __init__(self, model: CaptionModel) -> None:
        super().__init__(model, spec_of(model.config))

    @property
    def runnable(self) -> CaptionModel:
        """The captioner."""
        return self.model

    def tapped(self, hook: LinearHook) -> CaptionModel:
        """The same parameters under the same names; every layer is in the hands of `hook`."""
        from edgecap.quant.hooks import Tap

        model = copy.deepcopy(self.model, shared(self.model, ()))
        tap = Tap(model, self.layers, hook)
        for name, function in _RUNS.items():
            setattr(model, name, _Method(getattr(model, name), tap, function))
        # For who wants to know, and for `run_as`; no module may become a child by this.
        object.__setattr__(model, "hook", hook)
        object.__setattr__(model, "tap", tap)
        return model

    def with_own(self, paths: Iterable[str]) -> ReferenceSubject:
        """See Subject."""
        return ReferenceSubject(copy.deepcopy(self.model, shared(self.model, paths)))


# The function that a method of the model is part of; `forward_text` and `embed_words` serve two.
_RUNS: dict[str, str | None] = {
    "forward_image": "encode_image",
    "embed_image": "encode_image",
    "encode_image": "encode_image",
    "forward_text": None,
    "decode": "decode",
    "decode_attention": "decode",
    "logits": "decode",
    "encode_text": "encode_text",
}


class _Method:
    """A method of one model, under a tap."""

    def __init__(self, method: Any, tap: Any, function: str | None) -> None:
        self._method, self._tap, self._function = method, tap, function
        self.__wrapped__ = method  # its signature is this one's

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function = self._function
        if function is None:
            alone = len(args) < 2 and kwargs.get("keys") is None
            function = "encode_text" if alone else "decode"
        with self._tap.running(function):
            return self._method(*args, **kwargs)


def run_as(module: nn.Module, network: CaptionModel, function: str) -> None:
    """Let a module that calls the blocks of a tapped captioner itself run as `function`."""
    tap = getattr(network, "tap", None)
    if tap is None:
        return
    forward = module.forward

    @functools.wraps(forward)  # tracers want a true function with its signature
    def tapped(*args: Any) -> Any:
        with tap.running(function):
            return forward(*args)

    module.forward = tapped


def layer_weights(network: CaptionModel) -> dict[str, Tensor]:
    """The weights [N,D] of every layer, by the name in a plan."""
    return ReferenceSubject(network).weights()


def layer_widths(network: CaptionModel) -> dict[str, int]:
    """Layer -> D, its input channels: what a plan must fit."""
    return ReferenceSubject(network).widths()


def hooked(network: CaptionModel, hook: LinearHook) -> CaptionModel:
    """The captioner with its layers in the hands of `hook`."""
    return ReferenceSubject(network).tapped(hook)


def calibrate(
    network: CaptionModel, calibration_set: CalibrationSet, spec: CalibrationSpec, **options: Any
) -> Plan:
    """See edgecap.quant.calibrate."""
    from edgecap.quant import calibrate as generic

    return generic.calibrate(ReferenceSubject(network), calibration_set, spec, **options)


def smooth(network: CaptionModel, divisors: Mapping[str, Sequence[float]]) -> CaptionModel:
    """See edgecap.quant.smooth."""
    from edgecap.quant import smooth as generic

    smoothed: CaptionModel = generic.smooth(ReferenceSubject(network), divisors).model
    return smoothed


def simulate(network: CaptionModel, plan: Plan) -> CaptionModel:
    """See edgecap.quant.simulate."""
    from edgecap.quant import simulate as generic

    simulated: CaptionModel = generic.simulate(ReferenceSubject(network), plan)
    return simulated


def on_grid(network: CaptionModel, plan: Plan) -> CaptionModel:
    """See edgecap.quant.learned."""
    from edgecap.quant import learned

    moved: CaptionModel = learned.on_grid(ReferenceSubject(network), plan).model
    return moved


def insert_qdq(network: CaptionModel, plan: Plan) -> CaptionModel:
    """See edgecap.quant.qdq."""
    from edgecap.quant import qdq

    marked: CaptionModel = qdq.insert_qdq(ReferenceSubject(network), plan)
    return marked
