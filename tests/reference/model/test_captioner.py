"""The contract functions agree with the teacher-forced forward and keep their promises."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from edgecap.core.errors import InputError
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model.captioner import CaptionModel

CONFIG = CaptionerConfig(width=32, layers=2, heads=2, embedding=16, vocabulary=200)


@pytest.fixture(scope="module")
def model() -> CaptionModel:
    torch.manual_seed(0)
    captioner = CaptionModel(CONFIG)
    for parameter in captioner.parameters():  # larger than at the start, so that errors show
        parameter.data.mul_(4)
    return captioner.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 224, 224, 3), generator=generator, dtype=torch.uint8)


def cache(k: torch.Tensor) -> torch.Tensor:
    full = torch.full((*k.shape[:3], CONFIG.context, k.shape[4]), 1e3)  # garbage must not be seen
    full[..., : CONFIG.patches, :] = k
    return full


def test_decoding_word_by_word_equals_reading_at_once(
    model: CaptionModel, image: torch.Tensor
) -> None:
    tokens = torch.randint(0, 200, (2, 7), generator=torch.Generator().manual_seed(2))
    keys, values, _ = model.forward_image(image)
    at_once = model.logits(model.forward_text(tokens, keys, values))
    k, v, _ = model.encode_image(image)
    k, v = cache(k), cache(v)
    for t in range(tokens.shape[1]):
        position = torch.full((2,), t)
        logits, k_new, v_new, attention = model.decode(tokens[:, t : t + 1], position, k, v)
        row = slice(CONFIG.patches + t, CONFIG.patches + t + 1)
        k[..., row, :], v[..., row, :] = k_new, v_new
        torch.testing.assert_close(logits, at_once[:, t], atol=1e-4, rtol=1e-4)
        assert attention.shape == (2, CONFIG.patches)
        assert bool((attention >= 0).all()) and bool((attention.sum(1) <= 1 + 1e-5).all())


def test_each_row_of_a_batch_may_stand_at_its_own_position(
    model: CaptionModel, image: torch.Tensor
) -> None:
    k, v, _ = model.encode_image(image)
    k, v = cache(k), cache(v)
    k[..., CONFIG.patches : CONFIG.patches + 3, :] = 0.1
    token, position = torch.tensor([[5], [6]]), torch.tensor([0, 3])
    together = model.decode(token, position, k, v)[0]
    for row in range(2):
        pick = slice(row, row + 1)
        alone = model.decode(token[pick], position[pick], k[:, pick], v[:, pick])[0]
        torch.testing.assert_close(together[pick], alone, atol=1e-5, rtol=1e-5)


def test_a_image_is_seen_without_any_text_and_embeddings_have_norm_one(
    model: CaptionModel, image: torch.Tensor
) -> None:
    k, v, embedding = model.encode_image(image)
    assert k.shape == v.shape == (2, 2, 2, CONFIG.patches, 16)
    torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(2))
    flipped = model.encode_image(image.flip(0))[2]
    torch.testing.assert_close(flipped, embedding.flip(0), atol=1e-5, rtol=1e-5)


def test_the_pool_chooses_which_patches_the_embedding_is_of(model: CaptionModel) -> None:
    states = torch.randn(1, CONFIG.patches, 32, generator=torch.Generator().manual_seed(4))
    mean = model.image_embedding(model.final_norm(states).mean(1))  # zeros share alike
    torch.testing.assert_close(model.embed_image(states), F.normalize(mean, dim=-1))
    choosing = copy.deepcopy(model)
    normed = model.final_norm(states)[0, 7]
    choosing.pool.copy_(normed * 100)
    alone = F.normalize(model.image_embedding(normed), dim=-1)
    torch.testing.assert_close(choosing.embed_image(states)[0], alone)


def test_pixels_are_exact_in_int8(model: CaptionModel) -> None:
    """Over the whole range rounding costs them nothing, and none lies on a tie."""
    seen: list[torch.Tensor] = []
    watch = model.patch.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.forward_image(torch.arange(256).to(torch.uint8).repeat(196 * 3).view(1, 224, 224, 3))
    watch.remove()
    assert set((seen[0] * 128).flatten().tolist()) == set(range(-128, 128))


def test_padding_does_not_reach_a_text_embedding(model: CaptionModel) -> None:
    tokens = torch.randint(0, 200, (1, 96), generator=torch.Generator().manual_seed(3))
    length = torch.tensor([6])
    first = model.encode_text(tokens, length)
    tokens[:, 6:] = 0
    torch.testing.assert_close(model.encode_text(tokens, length), first)
    assert not torch.allclose(model.encode_text(tokens, torch.tensor([5])), first, atol=1e-3)


def test_a_window_is_seen_where_it_lies(model: CaptionModel, image: torch.Tensor) -> None:
    """The patches of a window at a corner take the positions that they have in the whole grid."""
    window = image[:1, :112, :112]
    here = model.forward_image(window, torch.tensor([[0, 0]]))[2][-1]
    default = model.forward_image(window)[2][-1]
    there = model.forward_image(window, torch.tensor([[7, 3]]))[2][-1]
    torch.testing.assert_close(here, default)
    model.row.data[7:] += 1.0
    try:
        assert not torch.allclose(model.forward_image(window, torch.tensor([[7, 3]]))[2][-1], there)
        torch.testing.assert_close(model.forward_image(window, torch.tensor([[0, 0]]))[2][-1], here)
    finally:
        model.row.data[7:] -= 1.0


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="multiple of heads"):
        CaptionerConfig(width=30, heads=4)


def test_texts_packed_into_one_row_do_not_see_each_other(
    model: CaptionModel, image: torch.Tensor
) -> None:
    one, two = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[9, 10, 11]])
    keys, values, _ = model.forward_image(image[:1])
    packed = model.forward_text(
        torch.cat([one, two], 1),
        keys,
        values,
        segments=torch.tensor([[1, 1, 1, 1, 2, 2, 2]]),
        positions=torch.tensor([[0, 1, 2, 3, 0, 1, 2]]),
    )
    torch.testing.assert_close(packed[:, :4], model.forward_text(one, keys, values))
    torch.testing.assert_close(packed[:, 4:], model.forward_text(two, keys, values))
