"""An extension of griffe: docstrings as Markdown.

A section `Raises:` that is written as prose stays readable. Google style wants `Name: when` on
every line; where a docstring says "InputError for an unknown name, UnsupportedError for …", griffe
drops the section, and here it becomes a paragraph. `<name>` in a text is not taken for a tag.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTION = re.compile(r"^( *)Raises:\n((?:\1 +\S.*\n?)+)", re.M)
TAG = re.compile(r"(?<![`<])<(?=[a-z])(?![^`\n]*`)")  # outside of code
ITEM = re.compile(r"\s*\w+(Error|Exception): ")


class Prose(griffe.Extension):
    """Turns such sections into text before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring is not None:
            text = SECTION.sub(_paragraph, obj.docstring.value)
            obj.docstring.value = TAG.sub("&lt;", text)


def _paragraph(match: re.Match[str]) -> str:
    if ITEM.match(match[2]):
        return match[0]
    text = " ".join(match[2].split())
    return f"{match[1]}**Raises:** {text.removesuffix('.')}.\n"
