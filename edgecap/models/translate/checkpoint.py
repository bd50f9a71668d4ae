"""The JSON files of a checkpoint directory, read once and strictly."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from edgecap.core.errors import BundleError, InputError, UnsupportedError, one_line
from edgecap.core.lazy import require
from edgecap.core.noise import without_warnings
from edgecap.core.typed import parse

MAX_BYTES = 256 << 20  # of one file: the largest tokenizer.json today has 34 MB
TOKENIZER = "tokenizer.json"
# What older checkpoints have in its place, and transformers makes one of.
_OLDER = ("vocab.json", "vocab.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
_SAVE = "In Python: transformers.{auto}.from_pretrained({path!r}).save_pretrained({path!r})"


class Checkpoint:
    """A directory as transformers' save_pretrained writes it. Files are read on first use."""

    def __init__(self, path: Path) -> None:
        """InputError (checkpoint.missing) where there is no such directory."""
        if not path.is_dir():
            raise InputError("checkpoint.missing", f"{path} is not a directory.")
        self.path = path

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json; InputError (checkpoint.file) without one."""
        return self.require("config.json", "AutoModel")

    @cached_property
    def image_processor(self) -> dict[str, Any]:
        """The image processor's settings, from whichever of the two files holds them."""
        within = (self.optional("processor_config.json") or {}).get("image_processor")
        if isinstance(within, dict):
            return within
        return self.require("preprocessor_config.json", "AutoProcessor")

    @cached_property
    def tokenizer(self) -> dict[str, Any]:
        """tokenizer.json; InputError (checkpoint.file), naming how to write one, without."""
        return self._parsed(TOKENIZER, self.tokenizer_file)

    @cached_property
    def tokenizer_file(self) -> bytes:
        """tokenizer.json, byte for byte; made by transformers where only older files are there.

        InputError (checkpoint.file) without any, UnsupportedError (checkpoint.unsupported) where
        transformers has no fast tokenizer of the kind.
        """
        data = self._bytes(TOKENIZER)
        if data is not None:
            return data
        if not any((self.path / name).is_file() for name in _OLDER):
            raise self._missing(TOKENIZER, "AutoTokenizer")
        transformers = require("transformers", "export")
        try:
            with without_warnings():
                made = transformers.AutoTokenizer.from_pretrained(self.path, local_files_only=True)
        except Exception as error:  # whatever its readers of such files raise
            raise InputError(
                "checkpoint.file",
                f"{self.path} has no {TOKENIZER}, and transformers cannot make one of its other "
                f"files: {one_line(error)}",
            ) from None
        fast = getattr(made, "backend_tokenizer", None)
        if fast is None:
            raise UnsupportedError(
                "checkpoint.unsupported",
                f"{self.path} has no {TOKENIZER}, and transformers makes none for a "
                f"{type(made).__name__}.",
                f"Put the {TOKENIZER} of the model it was trained from beside the weights.",
            )
        text: str = fast.to_str()
        return text.encode()

    @cached_property
    def tokenizer_config(self) -> dict[str, Any]:
        """tokenizer_config.json over special_tokens_map.json; empty without either."""
        older = self.optional("special_tokens_map.json") or {}
        return older | (self.optional("tokenizer_config.json") or {})

    @cached_property
    def generation_config(self) -> dict[str, Any] | None:
        """generation_config.json; None without one."""
        return self.optional("generation_config.json")

    def require(self, name: str, auto: str) -> dict[str, Any]:
        """An object that must be there; `auto` is the class of transformers that writes it."""
        value = self.optional(name)
        if value is None:
            raise self._missing(name, auto)
        return value

    def optional(self, name: str) -> dict[str, Any] | None:
        """An object, or None where there is no such file; InputError for one that is damaged."""
        data = self._bytes(name)
        return None if data is None else self._parsed(name, data)

    def _missing(self, name: str, auto: str) -> InputError:
        hint = _SAVE.format(auto=auto, path=str(self.path))
        return InputError("checkpoint.file", f"{self.path} has no {name}.", hint)

    def _bytes(self, name: str) -> bytes | None:
        file = self.path / name
        try:
            with file.open("rb") as opened:
                return opened.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError("checkpoint.file", f"{file} cannot be read: {reason}.") from None

    def _parsed(self, name: str, data: bytes) -> dict[str, Any]:
        file = self.path / name
        try:
            value = parse(data, str(file), MAX_BYTES)
        except BundleError as error:  # the same reader, of a file that is no bundle's
            raise InputError("checkpoint.file", error.message, "Fetch the file again.") from None
        if not isinstance(value, dict):
            raise InputError("checkpoint.file", f"{file} is not a JSON object.")
        return value


def typed(value: Any, kind: type | tuple[type, ...], name: str) -> Any:
    """A setting of the expected type; InputError (checkpoint.setting) otherwise."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(k.__name__ for k in kinds)
        raise InputError("checkpoint.setting", f"{name} should be {expected}, got {value!r:.60}.")
    return value


def refuse(what: str, why: str) -> UnsupportedError:
    """The refusal of a setting that no bundle can express."""
    return UnsupportedError(
        "checkpoint.unsupported",
        f"{what} is not supported: {why}.",
        "See docs/adapters.md for what a bundle can say.",
    )
