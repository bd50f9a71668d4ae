"""Image search: an index of embeddings of a folder, on disk. No torch.

    update(folder, out, captioner, source)  embed new images, remove deleted ones
    open_index(out).search(vector, k)       the nearest images

An index is untrusted input, read as strictly as a bundle: see manifest.py.
"""

from __future__ import annotations

from edgecap.apps.retrieval.build import Failure, Summary, update
from edgecap.apps.retrieval.search import Hit, Index, open_index

__all__ = ["Failure", "Hit", "Index", "Summary", "open_index", "update"]
