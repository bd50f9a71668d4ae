"""Free-text prompts to ids, with the tokenizers library (optional).

The named prompts of a bundle are ids in its manifest and do not need it.

Letters: n texts, N tokens of a text to embed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecap.core.errors import BundleError, InputError, UnsupportedError, one_line
from edgecap.core.lazy import require

EXTRA = "prompts"
MAX_PROMPT_CHARS = 1 << 16


class PromptEncoder:
    """Text to ids with the Hugging Face tokenizer.json of a bundle.

    The library runs patterns from that file, so it is opened only if free text must be encoded.
    """

    def __init__(self, data: bytes | None, where: str = "prompts.json") -> None:
        """Read the file's bytes; None if the bundle has no such file.

        Raises UnsupportedError (prompts.none), MissingPackageError (package.missing, naming the
        extra edgecap[prompts]) or BundleError (prompts.unreadable).
        """
        if data is None:
            raise UnsupportedError(
                "prompts.none",
                "this bundle supports only the prompts named in its manifest.",
                "Use one of those.",
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
            special: encode names of special tokens in the text as special tokens; by default they
                are encoded as plain text, so that user input cannot control the model.

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
        # A lone surrogate cannot be encoded in UTF-8, so it is replaced.
        text = text.encode("utf-8", "replace").decode("utf-8")
        self._tokenizer.encode_special_tokens = not special
        return list(self._tokenizer.encode(text, add_special_tokens=framing).ids)

    def framed(self, texts: Sequence[str], N: int) -> tuple[np.ndarray, np.ndarray]:
        """Texts to embed as ids int32 [n,N], padded with 0, and their lengths int32 [n].

        Raises as `encode`, and InputError for a text of more than N tokens or none.
        """
        tokens = np.zeros((len(texts), N), np.int32)  # [n,N]
        length = np.zeros(len(texts), np.int32)  # [n]
        for row, text in enumerate(texts):
            ids = self.encode(text, framing=True)
            if not 0 < len(ids) <= N:
                raise InputError(
                    "text.too_long", f"a text has {len(ids)} tokens; allowed: 1 to {N}."
                )
            tokens[row, : len(ids)], length[row] = ids, len(ids)
        return tokens, length
