"""How a checkpoint wants its captions generated, translated from transformers or refused by name.

What transformers reads from generation_config.json changes even greedy captions (forced tokens,
n-grams), so nothing that differs from its defaults is dropped: it is in `Generation`, or
`translate` raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgecap.core.errors import UnsupportedError

DEFAULT_LENGTH = 20  # transformers' max_new_tokens where nobody says one

# Say nothing about which tokens come out, or are read elsewhere.
IGNORED = {
    *("_from_model_config", "transformers_version", "use_cache", "cache_implementation"),
    *("output_scores", "output_logits", "output_attentions", "output_hidden_states"),
    *("return_dict_in_generate", "remove_invalid_values", "bos_token_id", "eos_token_id"),
    *("pad_token_id", "decoder_start_token_id", "max_length", "max_new_tokens", "max_time"),
    *("disable_compile", "renormalize_logits", "low_memory", "bad_words_ids"),
    *("temperature", "top_k", "top_p"),  # of sampling, without which they do nothing
}


@dataclass(frozen=True)
class Sampling:
    """Drawing the next token instead of taking the best."""

    temperature: float
    top_k: int
    top_p: float


@dataclass(frozen=True)
class Generation:
    """Tokens by their meaning, and the settings of the search.

    Counts are of text tokens behind the prompt.
    """

    prompts: dict[str, tuple[int, ...]]  # by name; fed to decode one by one, never empty
    end: tuple[int, ...]
    pad: int
    max_tokens: int
    min_tokens: int = 0
    suppress: tuple[int, ...] = ()
    suppress_first: tuple[int, ...] = ()  # in the first place only
    force_first: int | None = None
    force_last: int | None = None  # where max_tokens is reached
    beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool = False
    no_repeat_ngram: int = 0
    repetition_penalty: float = 1.0
    sampling: Sampling | None = None


def translate(
    config: Mapping[str, Any],
    prompts: dict[str, tuple[int, ...]],
    end: tuple[int, ...],
    pad: int,
    before: int = 0,
) -> Generation:
    """The settings of `config`, a GenerationConfig as a dict.

    `before` tokens stand in front of the prompts in the sequence whose length transformers counts.
    Raises UnsupportedError, naming the setting, where one has no counterpart here.
    """
    said = {name: value for name, value in config.items() if value is not None}

    def take(name: str, default: Any) -> Any:
        return said.pop(name, default)

    length, new = said.get("max_length"), said.get("max_new_tokens")
    longest = max(len(ids) for ids in prompts.values()) + before
    if new is None:
        new = DEFAULT_LENGTH if length is None else length - longest
    words = said.get("bad_words_ids") or []
    if any(len(word) != 1 for word in words):
        raise _refused("bad_words_ids", "words of several tokens")
    sampling = None
    if take("do_sample", False):
        sampling = Sampling(
            float(said.get("temperature", 1.0)),
            int(said.get("top_k", 50)),
            float(said.get("top_p", 1.0)),
        )
    stopping = take("early_stopping", False)
    if not isinstance(stopping, bool):
        raise _refused("early_stopping", repr(stopping))
    least = take("min_new_tokens", None)
    shortest = take("min_length", 0)  # prompt included
    generation = Generation(
        prompts=prompts,
        end=end,
        pad=pad,
        max_tokens=max(1, new),
        min_tokens=max(0, shortest - longest) if least is None else least,
        suppress=tuple(take("suppress_tokens", ())) + tuple(word[0] for word in words),
        suppress_first=tuple(take("begin_suppress_tokens", ())),
        force_first=take("forced_bos_token_id", None),
        force_last=take("forced_eos_token_id", None),
        beams=take("num_beams", 1),
        length_penalty=float(take("length_penalty", 1.0)),
        early_stopping=stopping,
        no_repeat_ngram=take("no_repeat_ngram_size", 0),
        repetition_penalty=float(take("repetition_penalty", 1.0)),
        sampling=sampling,
    )
    neutral = {**_NEUTRAL, "num_beam_groups": 1, "num_return_sequences": 1}
    for name, value in said.items():
        if name not in IGNORED and value != neutral.get(name):
            raise _refused(name, repr(value))
    return generation


def ids_of(*values: Any) -> tuple[int, ...]:
    """The first value that is said, one id or several, as ids."""
    said = next((value for value in values if value is not None), ())
    return (said,) if isinstance(said, int) else tuple(said)


# transformers' own defaults of what is not translated.
_NEUTRAL: dict[str, Any] = {
    "typical_p": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "diversity_penalty": 0.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "token_healing": False,
    "is_assistant": False,
    # Of assisted generation, which needs a second model.
    "num_assistant_tokens": 20,
    "num_assistant_tokens_schedule": "constant",
    "assistant_confidence_threshold": 0.4,
    "assistant_lookbehind": 10,
    "target_lookbehind": 10,
}


def _refused(name: str, value: str) -> UnsupportedError:
    return UnsupportedError(
        "model.generation",
        f"the checkpoint's generation setting {name} = {value} is not supported.",
        f"Remove {name} from generation_config.json if captions without it will do.",
    )
