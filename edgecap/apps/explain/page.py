"""A self-contained HTML page with the maps of every word: no network, no library.

Model output and user input are embedded as JSON with "<" escaped, and shown as text, never as
markup.

Letters: W words, G patches along one side of the model_input.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from PIL import Image

from edgecap.apps.explain.heat import GREYNESS, STOPS, levels
from edgecap.apps.explain.maps import CaptionTrace, Maps, word_boxes
from edgecap.core.printable import printable
from edgecap.runtime.preprocess import ImageLike, to_rgb

LARGEST = 896  # px of the longer side of the embedded image


def page(
    image: ImageLike,
    trace: CaptionTrace,
    maps: Sequence[Maps],
    title: str,
    facts: Mapping[str, str],
    word: int | None = None,
) -> str:
    """The page.

    Args:
        maps: the selectable kinds of maps; the first is shown initially.
        title: of the page, e.g. the image's name.
        facts: shown below: model, format, language.
        word: the index of the word that is shown initially, if any.
    """
    rgb = to_rgb(image)
    placement, size = trace.attention.placement, trace.model_input.shape[0]
    caption = trace.attention.caption
    words = [
        {"text": word.text, "box": list(box or ()) if word.is_box else None}
        for word, box in zip(trace.attention.words, word_boxes(trace), strict=True)
    ]
    data: dict[str, Any] = {
        "caption": caption.text,
        "width": rgb.width,
        "height": rgb.height,
        # The image's area in the model input, in shares of its side.
        "part": [
            placement.left / size,
            placement.top / size,
            placement.scaled_width / size,
            placement.scaled_height / size,
        ],
        "words": words,
        "first": word,
        "maps": [_map(one) for one in maps],
        "stops": STOPS,
        "greyness": GREYNESS,
        "facts": dict(facts),
    }
    # "<" could end the script; the two separators are line ends to old readers of JavaScript.
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    template = (resources.files(__package__) / "page.html").read_text(encoding="utf-8")
    parts = {
        "TITLE": html.escape(printable(title)),
        "LANG": html.escape(caption.lang),
        "IMAGE": _png(rgb),
        "DATA": text,
    }
    return _fill(template, parts)


def _fill(template: str, parts: Mapping[str, str]) -> str:
    """Replace each {{NAME}} once; inserted text is not scanned again."""
    pieces = template.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        filled += [parts[name], rest]
    return "".join(filled)


def _map(maps: Maps) -> dict[str, Any]:
    found = levels(maps.words)  # uint8 [W,G,G]
    return {
        "kind": maps.kind,
        "layer": maps.layer,
        "head": maps.head,
        "note": maps.note,
        "grid": found.shape[-1],
        "values": base64.b64encode(found.tobytes()).decode("ascii"),
    }


def _png(rgb: Image.Image) -> str:
    if max(rgb.size) > LARGEST:
        rgb = rgb.copy()
        rgb.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    rgb.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
