"""The comparison of batches with single pictures, with a clock that tests wind."""

import numpy as np

from edgecap.benchmarks.batched import measure


class Counted:
    """Takes a second per call of the engine."""

    now = 0.0

    def caption(self, picture: np.ndarray) -> None:
        self.now += 1

    def caption_many(self, pictures: list[np.ndarray], batch: int) -> list[None]:
        self.now += -(-len(pictures) // batch)
        return []


def test_ratios_are_of_time_against_single_calls() -> None:
    slow = Counted()
    rows = measure(slow, [None] * 8, [2, 8], 3, clock=lambda: slow.now)  # type: ignore[list-item, arg-type]
    assert [row["batch"] for row in rows] == ["single", 2, 8]
    assert [row["ratio"] for row in rows] == [1, 2, 8]
    assert [row["pictures_per_s"] for row in rows] == [1, 2, 8]
    assert slow.now == 4 * (8 + 4 + 1)  # a round of warming up, and three that count
