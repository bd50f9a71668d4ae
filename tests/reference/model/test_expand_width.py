"""A wider captioner begins with what a narrower one knows."""

from dataclasses import replace

import pytest
import torch

from edgecap.core.errors import InputError
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.model.expand_width import check_widens, expand_width

NARROW = CaptionerConfig(width=32, layers=2, heads=2, embedding=16, vocabulary=300)
WIDE = replace(NARROW, width=48, heads=3, embedding=24)


@pytest.fixture
def narrow() -> CaptionModel:
    """Weights as after training: scales, shifts and the pooling's query are no longer plain."""
    torch.manual_seed(0)
    model = CaptionModel(NARROW)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def answers(model: CaptionModel) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits [2,7,V] of words after an image, and both embeddings [2,E]."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (2, 224, 224, 3), generator=generator, dtype=torch.uint8)
    tokens = torch.randint(0, NARROW.vocabulary, (2, 7), generator=generator)
    with torch.no_grad():
        keys, values, states = model.forward_image(image)
        logits = model.logits(model.forward_text(tokens, keys, values))
        texts = model.encode_text(tokens, torch.tensor([7, 4]))
        return logits, model.embed_image(states[-1]), texts


def test_it_says_the_same(narrow: CaptionModel) -> None:
    wide = expand_width(narrow, WIDE)
    assert wide.config == WIDE
    for old, new in zip(answers(narrow), answers(wide), strict=True):
        if old.shape[-1] == new.shape[-1]:
            torch.testing.assert_close(new, old, rtol=1e-3, atol=1e-3)
        else:  # an embedding: new numbers are small
            torch.testing.assert_close(new[:, : old.shape[1]], old, rtol=0.05, atol=5e-3)


def test_all_of_it_learns(narrow: CaptionModel) -> None:
    """No part begins where its gradient is nought, or is a copy of another for ever."""
    wide = expand_width(narrow, WIDE).train()
    before = {name: p.detach().clone() for name, p in wide.named_parameters()}
    optimiser = torch.optim.SGD(wide.parameters(), lr=0.5)
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(0, NARROW.vocabulary, (2, 7), generator=generator)
    image = torch.randint(0, 256, (2, 224, 224, 3), generator=generator, dtype=torch.uint8)
    for _ in range(2):  # what reads zeros learns once they are none
        keys, values, states = wide.forward_image(image)
        said = wide.logits(wide.forward_text(tokens, keys, values)).square().mean()
        alike = wide.embed_image(states[-1]) @ wide.encode_text(tokens, torch.tensor([7, 7])).T
        optimiser.zero_grad()
        (said + alike.square().mean()).backward()
        optimiser.step()
    for name, now in wide.named_parameters():
        if "contrast" not in name and "text_position" not in name:
            moved = (now != before[name]).float()
            assert moved[..., -1].any(), name  # the last column is new, or belongs to a new row
    new = wide.patch.weight[NARROW.width :]
    assert not torch.equal(new[0], new[1])


def test_weights_of_the_same_shape_stay(narrow: CaptionModel) -> None:
    same = expand_width(narrow, NARROW)
    for name, parameter in same.named_parameters():
        assert torch.equal(parameter, narrow.get_parameter(name)), name


@pytest.mark.parametrize(
    "change",
    [
        {"width": 16, "heads": 1},
        {"layers": 3},
        {"width": 48},  # heads of another width
        {"vocabulary": 301},
        {"embedding": 8},
    ],
)
def test_nothing_but_growth_of_the_width(change: dict[str, int]) -> None:
    shape = replace(NARROW, **change)
    with pytest.raises(InputError, match="cannot become") as refused:
        check_widens(NARROW, shape)
    assert refused.value.code == "model.expand_width"
