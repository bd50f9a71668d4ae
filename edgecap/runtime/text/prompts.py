"""Free prompts to ids, through the tokenizers library where it is installed.

A bundle's own prompts are ids in its manifest and need none of this.
"""

from __future__ import annotations

from typing import Any

from edgecap.core.errors import BundleError, InputError, UnsupportedError, one_line
from edgecap.core.lazy import require

EXTRA = "prompts"
MAX_PROMPT_CHARS = 1 << 16


class PromptEncoder:
    """Text to ids by a Hugging Face tokenizer.json that a bundle carries.

    The file's own patterns are run, by the library: a bundle is trusted with that only where free
    prompts are asked for.
    """

    def __init__(self, data: bytes | None, where: str = "prompts.json") -> None:
        """Read the file's bytes; None where the bundle has none.

        Raises UnsupportedError (prompts.none), MissingPackageError (package.missing, naming the
        extra edgecap[prompts]) or BundleError (prompts.unreadable).
        """
        if data is None:
            raise UnsupportedError(
                "prompts.none",
                "this bundle takes only the prompts its manifest names.",
                "Name one of those.",
            )
        tokenizers = require("tokenizers", EXTRA)
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_buffer(data)
        except Exception as error:  # the library raises plain Exception
            raise BundleError("prompts.unreadable", f"{where}: {one_line(error)}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, text: str, *, framing: bool = False, special: bool = False) -> list[int]:
        """Ids of a text.

        Args:
            text: at most MAX_PROMPT_CHARS characters.
            framing: add the begin and end tokens that the model was trained with.
            special: let names of special tokens in the text become those tokens; otherwise they
                are spelled out, so that a user's words cannot steer the model.

        Raises:
            InputError: text.type or text.too_long.
        """
        if not isinstance(text, str):
            raise InputError("text.type", f"a prompt must be a str, got {type(text).__name__}.")
        if len(text) > MAX_PROMPT_CHARS:
            raise InputError(
                "text.too_long",
                f"the prompt has {len(text)} characters; at most {MAX_PROMPT_CHARS} are read.",
                "Shorten it.",
            )
        # A lone surrogate has no UTF-8; it cannot be part of a text.
        text = text.encode("utf-8", "replace").decode("utf-8")
        self._tokenizer.encode_special_tokens = not special
        return list(self._tokenizer.encode(text, add_special_tokens=framing).ids)
