"""Validation of texts against a model's vocabulary."""

from __future__ import annotations

from edgecap.core.errors import InputError
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.tokenizer import SPACE


def check_words(captioner: Captioner, text: str) -> None:
    """Raise InputError (text.no_words) for a text in a script without tokens in the vocabulary.

    Such a text is encoded as single bytes, which the model was not trained on: a result would be
    meaningless. Languages that were added later have tokens of their own
    (`edgecap.reference.train.extend_vocabulary`). Models without languages are not asked.
    """
    if not captioner.languages:
        return
    tokenizer = captioner.tokenizer
    pieces = [t for t in tokenizer.encode("".join(text.split())) if tokenizer.tokens[t] != SPACE]
    if pieces and all(map(tokenizer.is_byte, pieces)):
        raise InputError(
            "text.no_words",
            f"this model has no words for {text.strip()[:40]!r}; it knows "
            f"{', '.join(captioner.languages)}.",
            "Write it in one of these languages.",
        )
