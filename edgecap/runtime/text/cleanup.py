"""transformers' clean_up_tokenization_spaces: removes spaces before English punctuation.

The rules are replacements over the whole text, in sequence. A text that is still being generated is
cut at a position that no match can span: every match begins with a space and has at most four
characters, so no match spans a position after three characters without a space. The text before
the last such position is cleaned and returned; the rest is buffered.
"""

from __future__ import annotations

# transformers 5.23, PreTrainedTokenizerBase.clean_up_tokenization, in its order.
_RULES = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)
_REACH = max(len(found) for found, _ in _RULES) - 1


def clean_up(text: str) -> str:
    """Clean a text as transformers does."""
    for found, written in _RULES:
        text = text.replace(found, written)
    return text


class CleanUp:
    """Incremental `clean_up`: the joined results equal clean_up(all pushed text)."""

    def __init__(self) -> None:
        self._waiting = ""

    def push(self, text: str) -> str:
        self._waiting += text
        cut = _safe_cut(self._waiting)
        ready, self._waiting = self._waiting[:cut], self._waiting[cut:]
        return clean_up(ready)

    def finish(self) -> str:
        rest, self._waiting = self._waiting, ""
        return clean_up(rest)


def _safe_cut(text: str) -> int:
    """The last position after _REACH characters without a space; 0 if there is none."""
    for cut in range(len(text), _REACH - 1, -1):
        if " " not in text[cut - _REACH : cut]:
            return cut
    return 0
