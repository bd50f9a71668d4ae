"""Expand a captioner to a larger width with the same outputs, as a start for further training.

    D width   M units of an MLP (4D)   G patches a side   V vocabulary   T text positions
    E embedding width; all of the wider one

Each layer that writes to the residual stream writes the mean of its old rows to every new row. A
LayerNorm then gets the same mean and a smaller variance, which its scale compensates, and outputs
zeros in the new columns, so layers that read it may start with any weights there. New heads and MLP
units have random input weights and zero output weights. Lossless model expansion (LEMON, arXiv
2310.07999), after Net2Net (arXiv 1511.05641).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edgecap.core.errors import InputError
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model.captioner import CaptionModel

_GROWS = ("width", "heads", "embedding")
# Scale of the initial weights in new embedding rows. With 0 in both towers neither would learn.
_EMBEDDING_SHARE = 0.1


def expand_width(model: CaptionModel, config: CaptionerConfig) -> CaptionModel:
    """A captioner of shape `config` with the logits of `model`, and nearly its cosines.

    New weights come from torch's global generator. Raises the InputError of `check_widens`.
    """
    check_widens(model.config, config)
    wide = CaptionModel(config)
    share = model.config.width / config.width
    with torch.no_grad():
        for name, fresh in wide.named_parameters():
            fresh.copy_(_filled(name, model.get_parameter(name), fresh, share))
    return wide


def check_widens(old: CaptionerConfig, new: CaptionerConfig) -> None:
    """InputError unless `new` differs from `old` only in a larger width, heads and embedding."""
    before = {**old.to_dict(), "head_width": old.head_width}
    after = {**new.to_dict(), "head_width": new.head_width}
    wrong = [
        f"{name} {before[name]} cannot become {after[name]}"
        for name in before
        if before[name] > after[name] or (name not in _GROWS and before[name] != after[name])
    ]
    if wrong:
        raise InputError(
            "model.expand_width",
            f"the weights cannot be expanded to this model: {', '.join(wrong)}; only more heads of "
            "the same width and a larger embedding are possible.",
            "Choose a larger size with --size, or other weights.",
        )


def _filled(name: str, old: Tensor, fresh: Tensor, share: float) -> Tensor:
    """`fresh` with `old` copied in so that the outputs stay; `share` of the width is old."""
    module = name.removesuffix(".weight").removesuffix(".bias").rsplit(".", 1)[-1]
    if module.endswith("norm"):
        fresh = fresh * math.sqrt(share)
        fresh[: len(old)] = old * (math.sqrt(share) if name.endswith("weight") else 1)
    elif module in ("row", "column", "token", "text_position"):  # [G,D], [V,D], [T,D]
        fresh = _mean_beyond(old, fresh.shape[1], axis=1)
    elif module in ("patch", "attention_out", "mlp_out"):  # [D,3p²], [D,D], [D,M]
        fresh = torch.zeros_like(fresh)
        fresh[:, : old.shape[1]] = _mean_beyond(old, len(fresh), axis=0)
    elif module == "qkv":  # [3D,D]: queries, keys and values one below the other
        parts = fresh.clone().view(3, -1, fresh.shape[1])  # [3,D,D]
        rows = len(old) // 3
        parts[:, :rows, : old.shape[1]] = old.view(3, rows, -1)
        fresh = parts.flatten(0, 1)
    elif module in ("mlp_in", "image_embedding", "text_embedding"):  # [M,D], [E,D]
        fresh = fresh * (1 if module == "mlp_in" else _EMBEDDING_SHARE)
        fresh[: len(old), : old.shape[1]] = old
    else:  # pool [D] starts at zero, as it should; the contrastive scalars are copied
        fresh = fresh.clone()
        fresh.view(-1)[: old.numel()] = old.flatten()
    return fresh


def _mean_beyond(old: Tensor, size: int, axis: int) -> Tensor:
    """`old` extended to `size` along `axis` with its mean along that axis."""
    mean = old.mean(axis, keepdim=True)
    return torch.cat([old, mean.repeat_interleave(size - old.shape[axis], axis)], axis)
