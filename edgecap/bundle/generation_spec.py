"""The generation settings of a checkpoint, as data.

edgecap.runtime.logits applies the rules to logits, edgecap.runtime.beams implements beam search.
Names follow transformers' GenerationConfig where the meaning is the same.

History: the input ids of transformers' `generate`, which are `prefix` + `begin` + generated ids.
Repetition rules use all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgecap.core.errors import BundleError
from edgecap.core.typed import decode

# When beam search stops; transformers' early_stopping False, True and "never". "ended" is
# "heuristic" in which a sequence that the length limit cuts does not count as finished, and sums
# are 64-bit floats.
EARLY_STOPPING = ("heuristic", "first", "never", "ended")
MAX_NEW_TOKENS, MAX_BEAMS, MAX_IDS = 1 << 16, 32, 1 << 16


@dataclass(frozen=True)
class Sampling:
    """The checkpoint's sampling settings. Greedy decoding ignores them."""

    temperature: float = 1.0
    top_k: int = 0  # 0: any
    top_p: float = 1.0


@dataclass(frozen=True)
class GenerationSpec:
    """Settings of one prompt. Lengths count generated tokens, the end token included."""

    begin: tuple[int, ...]  # fed to decode before the first generated token, at least one
    eos: tuple[int, ...]  # any of these ends a sequence; empty: only max_new_tokens does
    max_new_tokens: int
    pad: int | None = None
    prefix: tuple[int, ...] = ()  # history before `begin`, consumed by encode
    min_new_tokens: int = 0  # number of tokens before an end token is allowed
    beams: int = 1
    length_penalty: float = 1.0
    early_stopping: str = "heuristic"  # one of EARLY_STOPPING
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0  # size of n-grams that may not repeat; 0: no limit
    suppress: tuple[int, ...] = ()  # never generated
    suppress_first: tuple[int, ...] = ()  # not generated as token number `suppress_first_at`
    suppress_first_at: int = 0
    forced_first: int | None = None  # the first token generated
    forced_last: tuple[int, ...] = ()  # token number max_new_tokens is one of these
    sampling: Sampling | None = None


def generation_spec_from_json(value: Any, where: str = "generation") -> GenerationSpec:
    """A checked GenerationSpec from plain JSON values; raises BundleError."""
    spec = decode(GenerationSpec, value, where)
    check_generation_spec(spec, where)
    return spec


def check_generation_spec(
    spec: GenerationSpec, where: str = "generation", vocabulary: int | None = None
) -> None:
    """Raise BundleError (bundle.generation) for an invalid spec.

    `vocabulary`: V, to check ids against it.
    """
    ids: dict[str, Sequence[int]] = {
        "begin": spec.begin,
        "prefix": spec.prefix,
        "eos": spec.eos,
        "pad": () if spec.pad is None else (spec.pad,),
        "suppress": spec.suppress,
        "suppress_first": spec.suppress_first,
        "forced_first": () if spec.forced_first is None else (spec.forced_first,),
        "forced_last": spec.forced_last,
    }
    for name, given in ids.items():
        if len(given) > MAX_IDS or any(i < 0 for i in given):
            raise _bad(f"{where}.{name} must be at most {MAX_IDS} ids of 0 or more")
        # The prefix may hold ids that the model accepts but cannot generate.
        if vocabulary is not None and name != "prefix" and any(i >= vocabulary for i in given):
            raise _bad(f"{where}.{name} has an id beyond the {vocabulary} of the vocabulary")
    if not spec.begin:
        raise _bad(f"{where}.begin is empty; decode needs a first token")
    forced = {*ids["forced_first"]}, {*spec.forced_last}
    if any(tokens and tokens <= {*spec.suppress} for tokens in forced):
        raise _bad(f"{where}: every forced id is also suppressed, so no token is allowed")
    if not 1 <= spec.max_new_tokens <= MAX_NEW_TOKENS:
        raise _bad(f"{where}.max_new_tokens is {spec.max_new_tokens}; allowed: 1-{MAX_NEW_TOKENS}")
    if not 0 <= spec.min_new_tokens <= spec.max_new_tokens:
        raise _bad(f"{where}.min_new_tokens must be 0-{spec.max_new_tokens}")
    if not 1 <= spec.beams <= MAX_BEAMS:
        raise _bad(f"{where}.beams is {spec.beams}; allowed: 1-{MAX_BEAMS}")
    if spec.early_stopping not in EARLY_STOPPING:
        raise _bad(f"{where}.early_stopping must be one of {', '.join(EARLY_STOPPING)}")
    if abs(spec.length_penalty) > 100 or not 0 < spec.repetition_penalty <= 100:
        raise _bad(f"{where}: length_penalty must be -100 … 100, repetition_penalty 0 … 100")
    if not 0 <= spec.no_repeat_ngram <= MAX_NEW_TOKENS or spec.suppress_first_at < 0:
        raise _bad(f"{where}: no_repeat_ngram and suppress_first_at must be 0 or more")
    sampling = spec.sampling
    if sampling is not None and not (
        0 < sampling.temperature <= 100 and sampling.top_k >= 0 and 0 < sampling.top_p <= 1
    ):
        raise _bad(f"{where}.sampling: temperature and top_p must be above 0, top_p at most 1")


def _bad(message: str) -> BundleError:
    return BundleError("bundle.generation", f"{message}.", "Export the bundle again.")
