"""Splits tokens of a schema 1 caption into text, phrases and boxes.

Location tokens follow their phrase in groups of four. The phrase is found without parsing: it is
the text since the last box or separator, without a leading conjunction, starting at its determiner
or number word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgecap.runtime.tokenizer import Tokenizer

InputBox = tuple[float, float, float, float]
_SEPARATOR = re.compile(r"[.,;:!?、。，；：！？「」()\"]")
# Words after which a list item's phrase begins.
_CONJUNCTIONS = {
    "en": ("and",),
    "es": ("y", "e"),
    "fr": ("et",),
    "de": ("und",),
    "it": ("e", "ed"),
    "pt": ("e",),
    "nl": ("en",),
    "ko": ("그리고",),
}
# Words with which an indefinite phrase begins: "This image shows | a dog".
_DETERMINERS = {
    "en": "a an the two three four five six seven",
    "es": "un una el la los las dos tres cuatro cinco seis siete",
    "fr": "un une le la les deux trois quatre cinq six sept",
    "de": "ein eine einen einem einer der die das den dem zwei drei vier fünf sechs sieben",
    "it": "un uno una il lo la i gli le due tre quattro cinque sei sette",
    "pt": "um uma o a os as dois duas três quatro cinco seis sete",
    "nl": "een de het twee drie vier vijf zes zeven",
}
# Words after which the first phrase of a sentence begins, in languages without determiners.
_LEADS = {"ko": ("그림에", "여기에"), "ja": ("ここに",)}
_ELIDED = ("un'", "un’", "l'", "l’")
_CHINESE_NUMBERS, _CHINESE_AND, _JAPANESE_AND = "一两三四五六七", "和与及", "とや"


@dataclass(frozen=True)
class Group:
    """A phrase and its boxes in px of the model input."""

    start: int  # of the phrase in the clean text
    end: int
    boxes: tuple[InputBox, ...]
    scores: tuple[float, ...]  # per box: geometric mean probability of its four tokens


@dataclass(frozen=True)
class Reading:
    """The clean text, its grouped boxes, and the number of location runs that are no valid box."""

    text: str
    groups: tuple[Group, ...]
    malformed: int


def read(
    tokens: Sequence[int],
    scores: Sequence[float],
    tokenizer: Tokenizer,
    locations: range,
    bin_px: int,
    language: str,
) -> Reading:
    """Separate words from boxes. `scores` are log-probabilities, one per token."""
    words = [token for token in tokens if token not in locations]
    text = tokenizer.decode(words, skip_special=True)
    groups: list[Group] = []
    malformed = place = word_count = previous_end = 0
    while place < len(tokens):
        if tokens[place] not in locations:
            place, word_count = place + 1, word_count + 1
            continue
        end = place
        while end < len(tokens) and tokens[end] in locations:
            end += 1
        boxes, probabilities, bad = _boxes(tokens[place:end], scores[place:end], locations, bin_px)
        malformed += bad
        text_end = len(tokenizer.decode(words[:word_count], skip_special=True).rstrip())
        if boxes:
            start = previous_end + phrase_start(text[previous_end:text_end], language)
            groups.append(Group(start, text_end, boxes, probabilities))
        place, previous_end = end, text_end
    return Reading(text, tuple(groups), malformed)


def _boxes(
    tokens: Sequence[int], scores: Sequence[float], locations: range, bin_px: int
) -> tuple[tuple[InputBox, ...], tuple[float, ...], int]:
    """Boxes, their scores, and the number of groups of a location run that are not boxes."""
    boxes, probabilities, bad = [], [], int(len(tokens) % 4 > 0)
    for i in range(0, len(tokens) - 3, 4):
        x0, y0, x1, y1 = ((token - locations.start) * bin_px for token in tokens[i : i + 4])
        if x1 <= x0 or y1 <= y0:
            bad += 1
            continue
        boxes.append((float(x0), float(y0), float(x1), float(y1)))
        probabilities.append(math.exp(sum(scores[i : i + 4]) / 4))
    return tuple(boxes), tuple(probabilities), bad


def determiner_end(phrase: str, language: str) -> int:
    """The position after the article or number word of a phrase; 0 if it has none."""
    elided = next((e for e in _ELIDED if phrase.lower().startswith(e)), "")
    first = re.match(r"(\S+)\s*", phrase)
    if elided or first is None:
        return len(elided)
    return first.end() if first[1].lower() in _DETERMINERS.get(language, "").split() else 0


def phrase_start(text: str, language: str) -> int:
    """The start of the phrase at the end of `text`."""
    separators = [match.end() for match in _SEPARATOR.finditer(text)]
    start = max(separators, default=0)
    if language == "zh":
        start = max([start] + [text.rfind(word) + 1 for word in _CHINESE_AND])
        # The first number: a later one may be part of the noun, as in 三角形 (triangle).
        numbers = [text.find(number, start) for number in _CHINESE_NUMBERS]
        return min((place for place in numbers if place >= 0), default=start)
    if language == "ja":
        while start < len(text) and text[start] in _JAPANESE_AND:
            start += 1
        leads = (lead for lead in _LEADS[language] if text.startswith(lead, start))
        return start + len(next(leads, ""))
    words = [(m.start(), m.group().lower()) for m in re.finditer(r"\S+", text[start:])]
    skipped = _CONJUNCTIONS.get(language, ()) + _LEADS.get(language, ())
    if words and words[0][1] in skipped:
        words = words[1:]
    determiners = _DETERMINERS.get(language, "").split()
    begins = [place for place, word in words if word in determiners or word.startswith(_ELIDED)]
    if begins:
        return start + begins[-1]
    return start + words[0][0] if words else len(text)
