"""A checkpoint's tokens by their meaning, and how long its captions are.

All else that generation_config.json sets for captions is in the GenerationSpec of each prompt
(edgecap.models.translate), where nothing is dropped: what no bundle can express is refused there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgecap.core.errors import InputError

DEFAULT_LENGTH = 20  # transformers' max_new_tokens where no file sets one


@dataclass(frozen=True)
class Generation:
    """How a caption begins and ends. `max_tokens` counts text tokens behind the prompt."""

    prompts: dict[str, tuple[int, ...]]  # by name; fed to decode one by one, never empty
    end: tuple[int, ...]
    pad: int
    max_tokens: int
    # In front of the prompts in the sequence that `generate` counts and looks back at.
    prefix: tuple[int, ...] = ()
    # What `generate` reads where a part of the model generates; None: the checkpoint's files.
    settings: Mapping[str, Any] | None = field(default=None, compare=False)


def generation(
    config: Mapping[str, Any],
    prompts: dict[str, tuple[int, ...]],
    end: tuple[int, ...],
    pad: int,
    prefix: tuple[int, ...] = (),
) -> Generation:
    """With the longest caption that `config`, a GenerationConfig as a dict, allows.

    `prefix` stands in front of the prompts in the sequence whose length transformers counts.
    """
    length, new = config.get("max_length"), config.get("max_new_tokens")
    if new is None:
        longest = max(len(ids) for ids in prompts.values()) + len(prefix)
        new = DEFAULT_LENGTH if length is None else length - longest
    return Generation(prompts, end, pad, max(1, new), prefix)


def ids_of(*values: Any) -> tuple[int, ...]:
    """The first value that is not None, one id or several, as ids."""
    first = next((value for value in values if value is not None), ())
    return (first,) if isinstance(first, int) else tuple(first)


def start_of(settings: Any, *others: Any) -> tuple[int, ...]:
    """What the text of an encoder-decoder begins with.

    Its GenerationConfig decides, as in transformers, which does not look into config.json where
    there is a generation_config.json. Where `generate` would refuse, the first of `others`, which
    is then set in `settings`. InputError where none is named.
    """
    start = ids_of(settings.decoder_start_token_id, settings.bos_token_id, *others)
    if not start:
        raise InputError(
            "checkpoint.setting",
            "the checkpoint names no decoder_start_token_id or bos_token_id.",
            "Set decoder_start_token_id in generation_config.json.",
        )
    if settings.decoder_start_token_id is None:
        settings.decoder_start_token_id = start[0]
    return start
