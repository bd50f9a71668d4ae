"""Attention by layer and head, and its gradient; available in PyTorch only.

Letters as in captioner.py; n tokens fed, t tokens of the caption, C = P + n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from edgecap.reference.model.captioner import CaptionModel


class AttentionTrace(NamedTuple):
    """For each step that chose a token, f32 [L,H,t,P]."""

    attention: np.ndarray
    gradient: np.ndarray  # of the token's log-probability with respect to the attention


def trace_attention(
    network: CaptionModel, model_input: np.ndarray, prompt: Sequence[int], tokens: Sequence[int]
) -> AttentionTrace:
    """Run a caption teacher-forced and record attention and gradient by layer and head.

    Args:
        model_input: uint8 [S,S,3].
        prompt, tokens: ids; the tokens without `<eos>`.
    """
    if not tokens:
        empty = np.zeros((network.config.layers, network.config.heads, 0, network.config.patches))
        return AttentionTrace(empty.astype(np.float32), empty.astype(np.float32))
    device = network.token.weight.device
    fed = torch.tensor([[*prompt, *tokens[:-1]]], device=device)  # [1,n]
    image = torch.from_numpy(model_input.copy()).to(device)[None]  # [1,S,S,3]
    with torch.enable_grad():
        x, weights = _forward(network, image, fed)
        first = len(prompt) - 1  # the row that chose the first token
        scores = network.logits(x[0, first:]).log_softmax(-1)  # [t,V]
        chosen = scores[torch.arange(len(tokens)), torch.tensor(tokens, device=device)]  # [t]
        gradients = torch.autograd.grad(chosen.sum(), weights)
    P = network.config.patches

    def rows(of: Sequence[Tensor]) -> np.ndarray:
        kept = torch.stack([one[0, :, first:, :P] for one in of])  # [L,H,t,P]
        return kept.detach().float().cpu().numpy()

    return AttentionTrace(rows(weights), rows(gradients))


def gradient_times_attention(trace: AttentionTrace) -> np.ndarray:
    """Positive part of gradient times attention, mean over layers and heads, f32 [t,G,G].

    The rule for one step of arXiv 2103.15679 (Chefer, Gur, Wolf), without its rollout.
    """
    positive = np.maximum(trace.attention * trace.gradient, 0).mean((0, 1))  # [t,P]
    return grid(positive)


def grid(patches: np.ndarray) -> np.ndarray:
    """[...,P] as [...,G,G]."""
    G = round(patches.shape[-1] ** 0.5)
    return patches.reshape(*patches.shape[:-1], G, G)


def with_random_weights(network: CaptionModel, seed: int = 0) -> CaptionModel:
    """The same architecture with random weights. Maps that stay alike do not reflect training.

    The full randomisation of arXiv 1810.03292 (Adebayo et al.).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = CaptionModel(network.config)
    return fresh.to(network.token.weight.device).eval().requires_grad_(False)


def _forward(network: CaptionModel, image: Tensor, fed: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Hidden text [1,n,D], and per layer the attention weights [1,H,n,C+1], self-attention last.

    Earlier rows are constants for later ones, as in a cache. So the gradient of a sum of scores
    with respect to a row's weights is that of the row's own score.
    """
    n, P = fed.shape[1], network.config.patches
    keys, values, _ = network.forward_image(image)  # L of [1,H,P,K]
    x = network.token(fed) + network.text_position.weight[:n]  # [1,n,D]
    x = x.detach().requires_grad_()
    before = torch.ones(n, P + n, dtype=torch.bool, device=fed.device).tril(P - 1)  # [n,C]
    scale = 1 / math.sqrt(network.config.head_width)
    kept = []
    for layer, block in enumerate(network.blocks):
        q, k, v = block.project(x)  # each [1,H,n,K]
        all_k = torch.cat([keys[layer], k.detach()], 2)  # [1,H,C,K]
        all_v = torch.cat([values[layer], v.detach()], 2)
        past = (q @ all_k.transpose(-1, -2) * scale).masked_fill(~before, -torch.inf)  # [1,H,n,C]
        self_score = (q * k).sum(-1, keepdim=True) * scale  # [1,H,n,1]
        weights = torch.cat([past, self_score], -1).softmax(-1)  # [1,H,n,C+1]
        kept.append(weights)
        x = block.finish(x, weights[..., :-1] @ all_v + weights[..., -1:] * v)  # [1,n,D]
    return x, kept
