"""The form that engines run computes what the model does, for one token and for several."""

from __future__ import annotations

import pytest
import torch

from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.model.graph_form import GraphForm

CONFIG = CaptionerConfig(width=32, layers=2, heads=2, embedding=16, vocabulary=200)
P, L = CONFIG.patches, CONFIG.layers
State = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def model() -> CaptionModel:
    torch.manual_seed(0)
    captioner = CaptionModel(CONFIG)
    for parameter in captioner.parameters():  # larger than at the start, so that errors show
        parameter.data.mul_(4)
    return captioner.eval().requires_grad_(False)


@pytest.fixture
def state() -> State:
    """k, v [L,B,H,C,K] of two images; what the graph must not see is large."""
    generator = torch.Generator().manual_seed(1)
    shape = (CONFIG.layers, 2, CONFIG.heads, CONFIG.context, CONFIG.head_width)
    k, v = (torch.randn(shape, generator=generator) for _ in range(2))
    for rows in (k, v):
        rows[:, 0, :, P + 5 :] = 1e3
        rows[:, 1, :, P + 9 :] = 1e3
    return k, v


def parted(state: State) -> list[torch.Tensor]:
    """The same, each layer by itself: 2L of [B,H,C,K]."""
    return [rows for side in state for rows in side]


def joined(rows: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """The keys and the values of all layers."""
    return torch.stack(rows[:L]), torch.stack(rows[L:])


def test_encoding_is_that_of_the_model(model: CaptionModel) -> None:
    image = torch.arange(2 * 224 * 224 * 3).remainder(251).to(torch.uint8).view(2, 224, 224, 3)
    *rows, embedding = GraphForm(model, False).encode_image(image)
    for made, wanted in zip(
        (*joined(tuple(rows)), embedding), model.encode_image(image), strict=True
    ):
        torch.testing.assert_close(made, wanted)


@pytest.mark.parametrize("by_element", [False, True])
def test_a_step_is_that_of_the_model(model: CaptionModel, state: State, by_element: bool) -> None:
    token, position = torch.tensor([[7], [11]]), torch.tensor([5, 9])
    form = GraphForm(model, by_element)
    for name in ("decode", "decode_attention"):
        logits, *rows, attention = getattr(form, name)(token, position, *parted(state))
        wanted = getattr(model, name)(token, position, *state)
        made = (logits, *joined(tuple(rows)), attention)
        for ours, theirs in zip(made, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_several_tokens_at_once_are_as_many_steps(model: CaptionModel, state: State) -> None:
    tokens, position = torch.tensor([[7, 3, 90], [11, 4, 4]]), torch.tensor([5, 9])
    logits, *rows = GraphForm(model, False).extend(tokens, position, *parted(state))
    k_new, v_new = joined(tuple(rows))
    k, v = state
    for i in range(3):
        step = model.decode(tokens[:, i : i + 1], position + i, k, v)
        got = (logits[:, i], k_new[:, :, :, i : i + 1], v_new[:, :, :, i : i + 1])
        for ours, theirs in zip(got, step[:3], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        for b in range(2):
            k[:, b, :, P + position[b] + i] = step[1][:, b, :, 0]
            v[:, b, :, P + position[b] + i] = step[2][:, b, :, 0]


def test_tokens_past_the_end_do_not_change_those_before(model: CaptionModel, state: State) -> None:
    last, form = torch.full((2,), CONFIG.text_length - 1), GraphForm(model, False)
    logits = form.extend(torch.tensor([[7, 3], [7, 4]]), last, *parted(state))[0]
    alone = model.decode(torch.tensor([[7], [7]]), last, *state)[0]
    torch.testing.assert_close(logits[:, 0], alone, rtol=1e-4, atol=1e-5)
