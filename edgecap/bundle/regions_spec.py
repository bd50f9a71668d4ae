"""The encoding of boxes as tokens: which ids are location ids ("places"), and how they form a box.

Four codecs, one per model family; edgecap.runtime.regions decodes them:

- edges4 (edgecap's reference, Pix2Seq): phrase, then x0 y0 x1 y1 in bins of `bin_px` px of the
  input, shared by both axes.
- cells2 (Kosmos-2, arXiv 2306.14824): <phrase> words </phrase> <object> first and last cell of a
  square grid, pairs separated by </delimiter_of_multi_objects/>, </object>.
- loc1000 (Florence-2, arXiv 2311.06242): phrase, then x0 y0 x1 y1 in bins of the input's sides.
- loc1024 (PaliGemma, arXiv 2407.07726): y0 x0 y1 x1 in bins, then the phrase; objects separated
  by ";".
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from edgecap.core.errors import BundleError
from edgecap.core.typed import decode

CODECS = ("edges4", "cells2", "loc1000", "loc1024")
# The names of the tokens around boxes (`marks`), by codec.
MARKS: dict[str, tuple[str, ...]] = {
    "edges4": (),
    "cells2": ("phrase", "end_phrase", "object", "end_object", "delimiter"),
    "loc1000": (),
    "loc1024": (),
}
MAX_PLACES = 1 << 16


@dataclass(frozen=True)
class RegionsSpec:
    """Location ids are first … first + count - 1, in order."""

    codec: str  # one of CODECS
    first: int  # the id of place 0
    count: int  # bins per side; cells2: cells of the grid
    bin_px: int = 0  # edges4: px of the input per bin
    marks: dict[str, int] = field(default_factory=dict)  # MARKS of the codec -> id

    @property
    def places(self) -> range:
        """The location ids."""
        return range(self.first, self.first + self.count)

    @property
    def per_box(self) -> int:
        """The number of location ids of a box."""
        return 2 if self.codec == "cells2" else 4


def regions_spec_from_json(value: Any, where: str = "regions") -> RegionsSpec:
    """A checked RegionsSpec from plain JSON values; raises BundleError."""
    if isinstance(value, dict):
        value = {"marks": {}} | value
    spec = decode(RegionsSpec, value, where)
    check_regions_spec(spec, where)
    return spec


def regions_spec_to_json(spec: RegionsSpec) -> dict[str, Any]:
    """The plain JSON values of a spec."""
    return asdict(spec)


def check_regions_spec(
    spec: RegionsSpec, where: str = "regions", vocabulary: int | None = None
) -> None:
    """Raise BundleError (bundle.regions) for an invalid spec.

    `vocabulary`: V, to check ids against it.
    """
    if spec.codec not in CODECS:
        raise _bad(f"{where}.codec is {spec.codec!r}; allowed: {', '.join(CODECS)}")
    if spec.first < 0 or not 2 <= spec.count <= MAX_PLACES:
        raise _bad(f"{where} must have a first id of 0 or more and 2-{MAX_PLACES} places")
    if (spec.codec == "edges4") != (spec.bin_px > 0) or not 0 <= spec.bin_px <= 4096:
        raise _bad(f"{where}.bin_px must be 1-4096 with edges4, and 0 with other codecs")
    if spec.codec == "cells2" and math.isqrt(spec.count) ** 2 != spec.count:
        raise _bad(f"{where}.count is {spec.count}, which is not a square grid of cells")
    expected = MARKS[spec.codec]
    if set(spec.marks) != set(expected):
        raise _bad(f"{where}.marks must name {', '.join(expected) or 'nothing'}")
    places = spec.places
    ids = [*spec.marks.values()]
    if len(set(ids)) != len(ids) or any(i < 0 or i in places for i in ids):
        raise _bad(f"{where}.marks must be distinct ids that are not places")
    if vocabulary is not None and max([places[-1], *ids]) >= vocabulary:
        raise _bad(f"{where} has an id beyond the {vocabulary} of the vocabulary")


def _bad(message: str) -> BundleError:
    return BundleError("bundle.regions", f"{message}.", "Export the bundle again.")
