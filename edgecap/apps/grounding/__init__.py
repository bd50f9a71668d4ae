"""From words to places: which box a phrase means, and which of some statements is true.

No box head and no parser: the captioner is asked how likely it finds the words, of the image as
it is and of the image with things taken out of it. Works on every artifact that decodes.
"""

from __future__ import annotations

from edgecap.apps.grounding.ground import Grounding, Referent, ground
from edgecap.apps.grounding.statements import StatementScore, rank_statements

__all__ = ["Grounding", "StatementScore", "Referent", "ground", "rank_statements"]
