"""The layout of the vocabulary: the first ids are fixed, the rest are bytes and BPE merges.

A caption is `<lang> <style> words and boxes <eos>`; a box is four location tokens x0 y0 x1 y1, each
the nearest of 57 edges 4 px apart on the 224 px model input. A text to embed is
`<text> words <eos>`.
"""

from __future__ import annotations

LANGUAGES = ("en", "es", "fr", "de", "it", "pt", "zh", "ja")
# Reserved so that adding a language by fine-tuning changes no other id.
RESERVED_LANGUAGES = ("nl", "ko", "x0", "x1", "x2", "x3", "x4", "x5")
# grounded and plain list all objects; relate states one relation; color and shape are the
# mention-dropout styles, which name coloured shapes by one attribute only.
STYLES = ("grounded", "plain", "relate", "color", "shape")

PAD, EOS, TEXT = "<pad>", "<eos>", "<text>"
LOCATION_BINS = 57
LOCATIONS = tuple(f"<loc_{i:02d}>" for i in range(LOCATION_BINS))

SPECIALS: tuple[str, ...] = (
    PAD,
    EOS,
    TEXT,
    *(f"<{style}>" for style in STYLES),
    *(f"<{language}>" for language in LANGUAGES + RESERVED_LANGUAGES),
    *LOCATIONS,
)

ID: dict[str, int] = {token: i for i, token in enumerate(SPECIALS)}
PAD_ID, EOS_ID, TEXT_ID = ID[PAD], ID[EOS], ID[TEXT]
FIRST_LOCATION_ID = ID[LOCATIONS[0]]
LOCATION_IDS = range(FIRST_LOCATION_ID, FIRST_LOCATION_ID + LOCATION_BINS)
