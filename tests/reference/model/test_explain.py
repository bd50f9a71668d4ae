"""Attention by head and its gradient, against `decode` and against a graph without shortcuts."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.model.explain import (
    gradient_times_attention,
    trace_attention,
    with_random_weights,
)

CONFIG = CaptionerConfig(
    width=32, layers=3, heads=2, embedding=16, image_size=64, vocabulary=50, text_length=12
)
PROMPT, TOKENS = [7, 3], [5, 6, 40, 41]
P, L, H = CONFIG.patches, CONFIG.layers, CONFIG.heads


@pytest.fixture(scope="module")
def network() -> CaptionModel:
    torch.manual_seed(0)
    network = CaptionModel(CONFIG)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 2:
                parameter.mul_(6)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model_input() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def test_its_mean_is_the_attention_of_decode(
    network: CaptionModel, model_input: np.ndarray
) -> None:
    looked = trace_attention(network, model_input, PROMPT, TOKENS)
    assert looked.attention.shape == looked.gradient.shape == (L, H, len(TOKENS), P)
    k, v, _ = network.encode_image(torch.from_numpy(model_input)[None])
    k, v = (F.pad(rows, (0, 0, 0, CONFIG.text_length)) for rows in (k, v))
    steps = []
    for position, token in enumerate([*PROMPT, *TOKENS[:-1]]):
        place = torch.tensor([position])
        _, k_new, v_new, attention = network.decode(torch.tensor([[token]]), place, k, v)
        k[:, :, :, P + position], v[:, :, :, P + position] = k_new[:, :, :, 0], v_new[:, :, :, 0]
        steps.append(attention[0].numpy())
    expected = np.stack(steps[len(PROMPT) - 1 :])  # [t,P]
    np.testing.assert_allclose(looked.attention.mean((0, 1)), expected, atol=1e-6)


def test_the_gradient_is_each_tokens_own(network: CaptionModel, model_input: np.ndarray) -> None:
    """Token by token through the whole graph, earlier rows included."""
    looked = trace_attention(network, model_input, PROMPT, TOKENS)
    keys, values, _ = network.forward_image(torch.from_numpy(model_input)[None])
    fed = torch.tensor([[*PROMPT, *TOKENS[:-1]]])
    n = fed.shape[1]
    x = (network.token(fed) + network.text_position.weight[:n]).requires_grad_()
    mask = F.pad(torch.ones(n, n, dtype=torch.bool).tril(), (P, 0), value=True)
    weights = []
    for layer, block in enumerate(network.blocks):
        q, k, v = block.project(x)
        k, v = torch.cat([keys[layer], k], 2), torch.cat([values[layer], v], 2)
        scores = q @ k.transpose(-1, -2) / math.sqrt(CONFIG.head_width)
        weights.append(scores.masked_fill(~mask, -torch.inf).softmax(-1))
        x = block.finish(x, weights[-1] @ v)
    said = network.logits(x[0]).log_softmax(-1)
    for i, token in enumerate(TOKENS):
        row = len(PROMPT) - 1 + i
        gradients = torch.autograd.grad(said[row, token], weights, retain_graph=True)
        expected = torch.stack([one[0, :, row, :P] for one in gradients]).numpy()  # [L,H,P]
        np.testing.assert_allclose(looked.gradient[:, :, i], expected, rtol=1e-3, atol=1e-5)
    assert np.abs(looked.gradient).max() > 1e-3


def test_gradient_times_attention_is_a_map_of_helping_looks(
    network: CaptionModel, model_input: np.ndarray
) -> None:
    maps = gradient_times_attention(trace_attention(network, model_input, PROMPT, TOKENS))
    assert maps.shape == (len(TOKENS), 4, 4)
    assert (maps >= 0).all() and maps.max() > 0


def test_looking_leaves_the_model_as_it_was(network: CaptionModel, model_input: np.ndarray) -> None:
    trace_attention(network, model_input, PROMPT, TOKENS)
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())


def test_fresh_weights_are_others_and_the_same_again(network: CaptionModel) -> None:
    before = torch.random.get_rng_state()
    a, b = with_random_weights(network, 1), with_random_weights(network, 1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(a.blocks[0].qkv.weight, b.blocks[0].qkv.weight)
    assert not torch.equal(a.blocks[0].qkv.weight, network.blocks[0].qkv.weight)
