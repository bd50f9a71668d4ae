"""The JSON files of a checkpoint directory, read once and strictly."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from edgecap.core.errors import BundleError, InputError, UnsupportedError
from edgecap.core.typed import parse

MAX_BYTES = 256 << 20  # of one file: the largest tokenizer.json today has 34 MB
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
        return self.require("tokenizer.json", "AutoTokenizer")

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
            hint = _SAVE.format(auto=auto, path=str(self.path))
            raise InputError("checkpoint.file", f"{self.path} has no {name}.", hint)
        return value

    def optional(self, name: str) -> dict[str, Any] | None:
        """An object, or None where there is no such file; InputError for one that is damaged."""
        file = self.path / name
        try:
            with file.open("rb") as opened:
                value = parse(opened.read(MAX_BYTES + 1), str(file), MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError("checkpoint.file", f"{file} cannot be read: {reason}.") from None
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
