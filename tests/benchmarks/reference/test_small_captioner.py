"""The recipe of the small captioner: its scenes, captions and tokenizer fit together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgecap.benchmarks.reference import small_captioner as small
from edgecap.core.errors import InputError


def test_every_caption_is_known_words_and_comes_back() -> None:
    words = small.tokenizer()
    for index in range(60):
        image, shown = small.scene("held-out", index)
        assert image.shape == (small.SIDE, small.SIDE, 3) and image.dtype == np.uint8
        caption = small.caption(shown)
        ids = words(caption)["input_ids"]
        assert words.unk_token_id not in ids
        assert words.decode(ids, skip_special_tokens=True) == caption


def test_streams_never_show_the_same_scene() -> None:
    first = [small.scene(stream, 0)[0].tobytes() for stream in small.STREAMS]
    assert len(set(first)) == len(first)
    assert small.scene("train", 0)[0].tobytes() == first[0]


def test_a_step_of_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    captioner = small.model().train()
    assert 4e6 < sum(p.numel() for p in captioner.parameters()) < 6e6
    words = small.tokenizer()
    tokens = words([small.caption(small.scene("train", i)[1]) for i in range(2)], padding=True)
    ids, pixels = torch.tensor(tokens["input_ids"]), torch.randn(2, 3, small.SIDE, small.SIDE)
    optimizer = torch.optim.SGD(captioner.parameters(), 0.05)
    losses = []
    for _ in range(2):
        found = small.loss(captioner, pixels, ids)
        losses.append(found.item())
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
    assert losses[1] < losses[0]


def test_nothing_to_do_is_refused() -> None:
    arguments = small.argparse.Namespace(
        output=None, images=None, overwrite=False, minutes=1.0, n=16
    )
    with pytest.raises(InputError, match="give -o DIR"):
        small._run(arguments)
