"""Grounding: the box that a phrase refers to, and ranking of statements about an image.

Needs no box head and no parser: both compare the captioner's likelihood of the words for the image
and for the image with objects removed. Works with every bundle that decodes.
"""

from __future__ import annotations

from edgecap.apps.grounding.ground import Grounding, Referent, ground
from edgecap.apps.grounding.statements import StatementScore, rank_statements

__all__ = ["Grounding", "StatementScore", "Referent", "ground", "rank_statements"]
