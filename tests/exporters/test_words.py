"""The gate of checkpoints: which captions it calls the same."""

from dataclasses import replace
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


def test_a_tie_is_of_the_scores_that_the_model_chose_by() -> None:
    """Not of its logits before penalties and suppressed tokens."""
    rules = GenerationSpec(begin=(0,), eos=(4,), max_new_tokens=3, repetition_penalty=2.0)
    logits = np.array([[0, 3, 0, 0, 0], [0, 2, 0.99, 1, 0], [0, 0, 0, 0, 9]], np.float32)

    def is_near(found: tuple[int, ...], spec: GenerationSpec = rules) -> bool:
        return words._parts_at_tie((1, 3), found, logits, spec, 0.1)

    assert is_near((1, 1)) and is_near((1, 2))  # 2 / 2 and 0.99, against 1
    assert not is_near((1, 0)) and not is_near((2, 3))
    assert not is_near((1, 2), replace(rules, suppress=(2,)))
