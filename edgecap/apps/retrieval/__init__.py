"""A folder of images as vectors on disk, and the search through them. No torch.

    update(folder, out, captioner, source)  embed what is new, forget what is gone
    open_index(out).search(vector, k)       the nearest images

An index is data and is read as strictly as a bundle: see manifest.py.
"""

from __future__ import annotations

from edgecap.apps.retrieval.build import Failure, Summary, update
from edgecap.apps.retrieval.search import Hit, Index, open_index

__all__ = ["Failure", "Hit", "Index", "Summary", "open_index", "update"]
