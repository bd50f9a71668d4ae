"""Where the phrase before a box begins, by language and without parsing.

A phrase is the text since the last box or separator, without a leading conjunction, starting at its
determiner or number word.
"""

from __future__ import annotations

import re

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
