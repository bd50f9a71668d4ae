"""The gate of checkpoints: which captions it calls the same."""

from typing import Any

import numpy as np
import pytest

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.exporters.parity import words
from edgecap.exporters.parity.words import BOUNDS, ModelOutputs

SPEC = GenerationSpec(begin=(1,), eos=(0,), max_new_tokens=4)
CAPTION = [5, 6, 0]
# Along CAPTION: sure of 5; 6 and 7 nearly alike; sure of the end.
LOGITS = np.array([[0, 0, 0, 0, 0, 9, 0, 0], [0, 0, 0, 0, 0, 0, 9, 8.9], [9, 0, 0, 0, 0, 0, 0, 0]])


def shares(found: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the gate counts for a bundle that writes `found` where the model writes CAPTION."""
    images: Any = tuple(range(len(found)))
    n = len(found)
    reference = ModelOutputs(
        "torch", "caption", images, [CAPTION] * n, np.tile(LOGITS, (n, 1)), None
    )
    monkeypatch.setattr(words, "_tokens", lambda graphs, image, spec: found[image])
    graphs: Any = None
    made = words._captions(graphs, reference, SPEC, BOUNDS["w8a8"])
    assert [one.what for one in made] == ["tokens", "tokens_or_tie"]
    return [one.agreement for one in made]


@pytest.mark.parametrize(
    ("found", "same", "near"),
    [
        ((5, 6), 1, 1),
        ((5, 7), 0, 1),  # parts where the model is undecided
        ((5, 7, 3), 0, 1),  # and goes its own way from there
        ((4, 6), 0, 0),
        ((5,), 0, 0),
        ((5, 6, 3), 0, 0),
    ],
)
def test_a_caption_that_parts_at_a_tie_is_not_called_the_same(
    found: tuple[int, ...], same: int, near: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shares([found], monkeypatch) == [same, near]
    assert shares([found, (5, 6)], monkeypatch) == [(same + 1) / 2, (near + 1) / 2]
