"""Token lists as rows of a batch: captions packed end to end, texts one per row. N rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from edgecap.reference.tokens import LOCATION_IDS, PAD_ID

NOTHING = slice(0, 0)


class CaptionTokens(NamedTuple):
    """A caption's tokens, and a slice of them that is context only, without loss."""

    ids: list[int]
    given: slice = NOTHING


def common_prefix(ids: list[int], others: list[int]) -> int:
    """Length of the common prefix of two captions, tokens."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(ids, others, strict=False))
    return sum(1 for _ in same)


def end_of_boxes(ids: list[int]) -> int:
    """Number of tokens up to and including the last box; 0 where there is no box."""
    places = (i + 1 for i, token in enumerate(ids) if token in LOCATION_IDS)
    return max(places, default=0)


def pack(captions: Iterator[CaptionTokens], length: int) -> np.ndarray:
    """int64 [4,length]: tokens, targets, segments and positions of captions laid end to end.

    Takes captions until one does not fit; a first one that is too long is truncated.
    """
    row = np.full((4, length), PAD_ID)
    row[2:] = 0
    start = 0
    for segment, (whole, given) in enumerate(captions):
        ids = whole[: length + 1] if segment == 0 else whole
        size = len(ids) - 1  # the last token is only a target
        if start + size > length:
            break
        part = slice(start, start + size)
        row[0, part], row[1, part] = ids[:-1], ids[1:]
        row[1, part][max(given.start - 1, 0) : max(given.stop - 1, 0)] = PAD_ID
        row[2, part], row[3, part] = segment + 1, np.arange(size)
        start += size
    return row


def pad(sequences: list[list[int]], length: int) -> Tensor:
    """int64 [N,length], padded or truncated."""
    rows = [(ids + [PAD_ID] * length)[:length] for ids in sequences]
    return torch.tensor(rows, dtype=torch.int64).view(len(rows), length)


def lengths(sequences: list[list[int]], most: int) -> Tensor:
    """int64 [N], valid lengths after `pad`."""
    return torch.tensor([min(len(ids), most) for ids in sequences], dtype=torch.int64)
