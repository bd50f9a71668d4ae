"""Whether a text says anything to a model."""

from __future__ import annotations

from edgecap.core.errors import InputError
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.tokenizer import SPACE


def check_words(captioner: Captioner, text: str) -> None:
    """Refuse a text in a script that the vocabulary has no piece of; InputError (text.no_words).

    Such a text reaches the model as single bytes, which it was never taught to read: an answer
    would look like any other and mean nothing. A language that was added needs no exception: what
    its captions were written in has pieces of its own
    (`edgecap.reference.train.extend_vocabulary`).
    """
    tokenizer = captioner.tokenizer
    pieces = [t for t in tokenizer.encode("".join(text.split())) if tokenizer.tokens[t] != SPACE]
    if pieces and all(map(tokenizer.is_byte, pieces)):
        raise InputError(
            "text.no_words",
            f"this model has no words for {text.strip()[:40]!r}; it knows "
            f"{', '.join(captioner.languages)}.",
            "Write it in one of these languages.",
        )
