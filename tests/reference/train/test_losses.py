"""What a step minimises."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from tiny_train import CONFIG, TINY

from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.tokens import LOCATION_IDS, PAD_ID
from edgecap.reference.train.config import Stage
from edgecap.reference.train.data import SceneBatches
from edgecap.reference.train.losses import (
    NEGATIVE_TEMPERATURE,
    Objective,
    after_boxes,
    differ,
    hard_negative_loss,
    run_model,
    word_losses,
)
from edgecap.reference.train.packing import end_of_boxes


def test_twins_are_told_apart_by_the_margin_alone() -> None:
    image = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # [Q,E]
    true, false = torch.tensor([0.6, 0.8]), torch.tensor([0.8, 0.6])
    texts = torch.stack([true, false, true, false])  # [2C,E]
    far = torch.tensor(0.2 / NEGATIVE_TEMPERATURE)  # nearer to the false one, by 0.2
    first = hard_negative_loss(image, texts, torch.tensor([True, False]))
    torch.testing.assert_close(first, F.softplus(far))
    both = hard_negative_loss(image, texts, torch.tensor([True, True]))
    torch.testing.assert_close(both, F.softplus(far) + F.softplus(-far))
    twice = hard_negative_loss(
        image[:1], texts, torch.tensor([True, True])
    )  # two claims of one image
    torch.testing.assert_close(twice, 2 * F.softplus(far))
    assert differ(torch.tensor([[1, 2], [1, 2], [1, 2], [2, 1]])).tolist() == [False, True]


def test_boxes_may_weigh_less_than_words() -> None:
    torch.manual_seed(0)
    objective, batch = Objective(CaptionModel(TINY)), SceneBatches(CONFIG)[0]
    sums = dict(zip(objective.terms(batch, CONFIG), objective(batch), strict=True))
    words = word_losses(run_model(objective.captioner, batch).logits, batch.targets)
    places = torch.isin(batch.targets, torch.tensor(LOCATION_IDS))
    assert places.any() and not places.all()
    torch.testing.assert_close(sums["box"], words[places].sum())
    torch.testing.assert_close(sums["caption"], words[~places].sum())
    half = objective.terms(batch, replace(CONFIG, box_weight=0.5))
    assert (half["caption"].weight, half["box"].weight) == (1.0, 0.5)


def test_what_follows_the_last_box_is_weighed_apart() -> None:
    """In a batch as it is drawn: each caption's tokens from its last location token on."""
    scenes = (Stage(224, 8, 8, 128, 2, 40),)
    batch = SceneBatches(replace(CONFIG, stages=scenes, styles={"grounded": 1.0}, slips=0.5))[0]
    found = after_boxes(batch)  # [B,T]
    slips = 0
    for row in range(len(batch.tokens)):
        for segment in set(batch.segments[row].tolist()) - {0}:
            own = batch.segments[row] == segment
            ids, asked = batch.tokens[row, own].tolist(), batch.targets[row, own] != PAD_ID
            end = end_of_boxes(ids)
            assert found[row, own].tolist() == [i + 1 >= end > 0 for i in range(len(ids))]
            given = (~asked).nonzero().flatten().tolist()
            assert asked[end - 1 :].all()
            assert given == list(range(end - 1 - len(given), end - 1))  # from the slip to its end
            slips += len(given) > 0
    assert slips
