"""transformers' clean_up_tokenization_spaces: spaces before English punctuation vanish.

The rules are replacements over the whole text, one after the other. To clean a text that is still
being written, it is cut where no rule can reach across: every rule's match begins with a space and
has at most four characters, so after three characters without a space nothing can. What lies before
the last such place is cleaned and given out, the rest waits.
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
    """The text as transformers cleans it."""
    for found, written in _RULES:
        text = text.replace(found, written)
    return text


class CleanUp:
    """The same, piece by piece; the pieces given out make up clean_up(all that was pushed)."""

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
    """The last place after _REACH characters without a space; 0 where there is none."""
    for cut in range(len(text), _REACH - 1, -1):
        if " " not in text[cut - _REACH : cut]:
            return cut
    return 0
