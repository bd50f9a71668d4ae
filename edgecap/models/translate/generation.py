"""generation_config.json -> GenerationSpec: how the checkpoint's own `generate` chooses.

Follows transformers 5.23: a setting that the file leaves out, or gives as null, has the default of
GenerationConfig._get_default_generation_params; a checkpoint without the file takes what its
config.json, and the part for text in it, hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgecap.bundle.generation_spec import GenerationSpec, Sampling, check_generation_spec
from edgecap.core.errors import BundleError, InputError
from edgecap.models.translate.checkpoint import Checkpoint, refuse, typed

_DEFAULT_NEW_TOKENS = 20
_NUMBER = (int, float)
_EARLY_STOPPING = {False: "heuristic", True: "first", "never": "never"}
_TEXT_CONFIGS = ("decoder", "generator", "text_config")

# Settings that would change tokens and that no bundle can express: the values that change nothing.
_REFUSED: dict[str, tuple[Any, ...]] = {
    "constraints": (),
    "diversity_penalty": (0, 0.0),
    "dola_layers": (),
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1, 1.0),
    "exponential_decay_length_penalty": (),
    "force_words_ids": (),
    "guidance_scale": (1, 1.0),
    "max_time": (),
    "num_beam_groups": (1,),
    "num_return_sequences": (1,),
    "penalty_alpha": (0, 0.0),
    "prompt_lookup_num_tokens": (),
    "remove_invalid_values": (False,),
    "renormalize_logits": (False,),
    "sequence_bias": (),
    "stop_strings": (),
    "token_healing": (False,),
    "use_mtp": (False,),
    "watermarking_config": (),
}
# Warpers that act only where do_sample is set; the same.
_REFUSED_SAMPLING: dict[str, tuple[Any, ...]] = {
    "epsilon_cutoff": (0, 0.0),
    "eta_cutoff": (0, 0.0),
    "min_p": (),
    "top_h": (),
    "typical_p": (1, 1.0),
}
# Settings that change no token, and why.
_LEFT_OUT = {
    "use_cache": "the same tokens with and without a cache",
    "cache_implementation": "how a cache is kept",
    "cache_config": "the same",
    "max_cache_len": "the same",
    "prefill_chunk_size": "how a prompt is fed",
    "low_memory": "how beams are computed",
    "compile_config": "how it is compiled",
    "disable_compile": "the same",
    "continuous_batching_config": "how requests are batched",
    "output_attentions": "what is returned besides tokens",
    "output_hidden_states": "the same",
    "output_logits": "the same",
    "output_scores": "the same",
    "return_dict_in_generate": "the same",
    "return_legacy_cache": "the same, before transformers 5",
    "transformers_version": "who wrote the file",
    "_from_model_config": "the same",
    "is_assistant": "drafts for another model, which still chooses every token",
    "num_assistant_tokens": "the same",
    "num_assistant_tokens_schedule": "the same",
    "assistant_confidence_threshold": "the same",
    "assistant_early_exit": "the same",
    "assistant_ensemble_weight": "the same",
    "assistant_lookbehind": "the same",
    "target_lookbehind": "the same",
    "max_matching_ngram_size": "the same",
    "speculation_type": "the same",
}
_CARRIED = {
    "bos_token_id",  # start_id
    "decoder_start_token_id",  # start_id
    "bad_words_ids",
    "begin_suppress_tokens",
    "do_sample",
    "early_stopping",
    "eos_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "no_repeat_ngram_size",
    "num_beams",
    "pad_token_id",
    "repetition_penalty",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
}
KNOWN = {*_CARRIED, *_REFUSED, *_REFUSED_SAMPLING, *_LEFT_OUT}


def generation_spec(
    checkpoint: Checkpoint,
    *,
    begin: Sequence[int],
    prefix: Sequence[int] = (),
    embedded: int = 0,
    ids: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> GenerationSpec:
    """The settings with which the checkpoint generates after one prompt.

    Args:
        begin: ids fed to `decode` before the first choice.
        prefix: ids before them that `generate` sees too: the prompt around the image, one id per
            place that the image takes.
        embedded: rows of a prompt that `generate` is given as embeddings and not as ids; max_length
            counts them.
        ids: eos_token_id and the like where the family's own `generate` passes them itself.
        settings: what it reads where that is not in the checkpoint's files: a part of a model has
            the ids of its configuration alone.

    Raises UnsupportedError (checkpoint.unsupported) that names a setting no bundle can express,
    InputError (checkpoint.setting) for one that makes no sense.
    """
    given = _given(checkpoint) if settings is None else _set(settings)
    values = {**given, **(ids or {})}
    _check_known(values)
    history = len(prefix) + len(begin)
    most = _most(values, history, embedded)
    # forced_bos_token_id acts on a history of one id alone.
    forced = values.get("forced_bos_token_id") if history == 1 else None
    late = history <= 1 and values.get("forced_bos_token_id") is not None
    spec = GenerationSpec(
        begin=tuple(begin),
        prefix=tuple(prefix),
        eos=_ids(values, "eos_token_id"),
        pad=_optional_id(values, "pad_token_id"),
        max_new_tokens=most,
        min_new_tokens=min(_least(values, history, embedded), most),
        beams=typed(values.get("num_beams", 1), int, "num_beams"),
        length_penalty=float(typed(values.get("length_penalty", 1), _NUMBER, "length_penalty")),
        early_stopping=_early_stopping(values.get("early_stopping", False)),
        repetition_penalty=float(
            typed(values.get("repetition_penalty", 1), _NUMBER, "repetition_penalty")
        ),
        no_repeat_ngram=typed(values.get("no_repeat_ngram_size", 0), int, "no_repeat_ngram_size"),
        suppress=(*_ids(values, "suppress_tokens"), *_bad_words(values)),
        suppress_first=_ids(values, "begin_suppress_tokens"),
        suppress_first_at=int(late),
        forced_first=None if forced is None else typed(forced, int, "forced_bos_token_id"),
        forced_last=_ids(values, "forced_eos_token_id"),
        sampling=_sampling(values),
    )
    try:
        check_generation_spec(spec, "generation_config.json")
    except BundleError as error:
        raise InputError("checkpoint.setting", error.message) from None
    return spec


def start_id(checkpoint: Checkpoint) -> int:
    """The id that an encoder-decoder's text begins with; InputError where no setting has it."""
    values = _given(checkpoint)
    for name in ("decoder_start_token_id", "bos_token_id"):
        if values.get(name) is not None:
            start: int = typed(values[name], int, name)
            return start
    raise InputError(
        "checkpoint.setting", f"{checkpoint.path} names no decoder_start_token_id or bos_token_id."
    )


def _given(checkpoint: Checkpoint) -> dict[str, Any]:
    """The settings of the checkpoint, without nulls."""
    values = checkpoint.generation_config
    if values is None:
        config = checkpoint.config
        text: dict[str, Any] = next(
            (config[n] for n in _TEXT_CONFIGS if isinstance(config.get(n), dict)), {}
        )
        known = KNOWN - _LEFT_OUT.keys()
        values = {n: v for n, v in {**text, **_set(config)}.items() if n in known}
    return _set(values)


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _check_known(values: Mapping[str, Any]) -> None:
    sampled = values.get("do_sample", False)
    refused = {**_REFUSED, **(_REFUSED_SAMPLING if sampled else {})}
    for name, value in values.items():
        if name not in KNOWN:
            raise refuse(f"{name} of generation_config.json", "it is not known what it changes")
        if name in refused and not any(
            value == neutral and isinstance(value, bool) == isinstance(neutral, bool)
            for neutral in refused[name]
        ):
            raise refuse(f"{name}: {value!r:.40} of generation_config.json", "no bundle says it")
    if sampled and values.get("num_beams", 1) != 1:
        raise refuse("do_sample with num_beams", "beams are searched, not sampled")


def _most(values: Mapping[str, Any], history: int, embedded: int) -> int:
    """Tokens that may be generated, the end included."""
    if "max_new_tokens" in values:
        most: int = typed(values["max_new_tokens"], int, "max_new_tokens")
        return most
    if "max_length" not in values:
        return _DEFAULT_NEW_TOKENS
    longest = typed(values["max_length"], int, "max_length")
    if longest <= history + embedded:
        raise InputError(
            "checkpoint.setting",
            f"max_length {longest} leaves no room after a prompt of {history + embedded} ids.",
            "Give export --max-length, or set max_new_tokens in generation_config.json.",
        )
    return int(longest - history - embedded)


def _least(values: Mapping[str, Any], history: int, embedded: int) -> int:
    new = typed(values.get("min_new_tokens", 0), int, "min_new_tokens")
    if new:
        return int(new)
    whole = typed(values.get("min_length", 0), int, "min_length")
    return max(0, whole - history - embedded)


def _early_stopping(value: Any) -> str:
    if not isinstance(value, (bool, str)) or value not in _EARLY_STOPPING:
        raise InputError("checkpoint.setting", f"early_stopping is {value!r:.40}.")
    return _EARLY_STOPPING[value]


def _sampling(values: Mapping[str, Any]) -> Sampling | None:
    if not typed(values.get("do_sample", False), bool, "do_sample"):
        return None
    temperature = typed(values.get("temperature", 1), _NUMBER, "temperature")
    top_p = typed(values.get("top_p", 1), _NUMBER, "top_p")
    return Sampling(float(temperature), typed(values.get("top_k", 50), int, "top_k"), float(top_p))


def _ids(values: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """One id, a list of them or nothing."""
    value = values.get(name)
    if value is None:
        return ()
    several = value if isinstance(value, list) else [value]
    return tuple(typed(i, int, name) for i in several)


def _bad_words(values: Mapping[str, Any]) -> tuple[int, ...]:
    """Words of one id, which are never generated; an end token among them is left alone."""
    words = typed(values.get("bad_words_ids", []), list, "bad_words_ids")
    if any(len(typed(word, list, "bad_words_ids")) != 1 for word in words):
        raise refuse("bad_words_ids of several ids", "a bundle leaves out single ids alone")
    ends = _ids(values, "eos_token_id")
    banned = [typed(word[0], int, "bad_words_ids") for word in words]
    return tuple(i for i in banned if i not in ends)


def _optional_id(values: Mapping[str, Any], name: str) -> int | None:
    ids = _ids(values, name)
    if len(ids) > 1:
        raise InputError("checkpoint.setting", f"{name} has {len(ids)} ids, not one.")
    return ids[0] if ids else None
