"""Which maps a captioner can give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgecap.core.errors import UnsupportedError

if TYPE_CHECKING:
    import numpy as np

    from edgecap.apps.explain import CaptionTrace
    from edgecap.reference.model.captioner import CaptionModel
    from edgecap.runtime import Captioner

TORCH_ONLY = ("gradient",)


def picked_kinds(text: str, allowed: Sequence[str]) -> list[str]:
    """Kinds of maps with commas, each once; InputError for an unknown one."""
    from edgecap.core.choices import pick

    return list(dict.fromkeys(pick("maps", kind.strip(), allowed) for kind in text.split(",")))


def check_backend(captioner: Captioner, kinds: Sequence[str]) -> None:
    """UnsupportedError where a kind needs PyTorch, or an export with --attention."""
    from edgecap.runtime.graphs import check_attention

    only = [kind for kind in kinds if kind in TORCH_ONLY]
    if only and captioner.backend != "torch":
        raise UnsupportedError(
            "explain.torch_only",
            f"{' and '.join(only)} need PyTorch; this is {captioner.backend}, which gives "
            "attention, occlusion and, where it was exported with --attention, layers.",
            "Name the PyTorch model: S, or the weights that were exported.",
        )
    if "layers" in kinds:
        check_attention(captioner.manifest.interface)


def network_of(captioner: Captioner) -> CaptionModel:
    """The PyTorch model behind a captioner of the torch backend."""
    return captioner.graphs.session.network  # type: ignore[attr-defined]


def maker(kind: str, captioner: Captioner) -> Callable[[CaptionTrace], np.ndarray]:
    """From a caption to maps of its tokens, f32 [t,G,G]; of attention, gradient or occlusion."""
    from edgecap.apps import explain

    if kind == "attention":
        return explain.attention
    if kind == "occlusion":
        return lambda trace: explain.occlusion(captioner, trace)
    return gradients(network_of(captioner))


def gradients(network: CaptionModel) -> Callable[[CaptionTrace], np.ndarray]:
    """The maker of gradient x attention for a network."""
    from edgecap.reference.model.explain import gradient_times_attention, trace_attention

    return lambda trace: gradient_times_attention(
        trace_attention(network, trace.model_input, trace.prompt, trace.tokens)
    )
