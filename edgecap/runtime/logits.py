"""Generation rules on logits, in NumPy: penalties, suppressed and forced tokens.

Equal to transformers' LogitsProcessor classes of the same names (5.23), applied in the order in
which its `generate` builds them. In greedy decoding they act on logits, in beam search on
log-probabilities.

Letters: V vocabulary, n ids of the history.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.core.errors import BundleError


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-softmax over the last axis of f32 [...,V]; BundleError for NaN or infinity."""
    _check_finite(logits)
    shifted = logits - logits.max(-1, keepdims=True)  # [...,V]
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def token_log_probabilities(rows: Sequence[np.ndarray], tokens: Sequence[int]) -> np.ndarray:
    """Of each row of logits f32 [V] the log-softmax of one token, f32 [n], in less memory."""
    shifted = np.stack(rows)  # [n,V]
    _check_finite(shifted)
    shifted -= shifted.max(-1, keepdims=True)
    chosen = shifted[np.arange(len(tokens)), tokens]  # [n]
    np.exp(shifted, out=shifted)
    return chosen - np.log(shifted.sum(-1))


def _check_finite(logits: np.ndarray) -> None:
    if not np.isfinite(logits).all():
        raise BundleError("bundle.not_finite", "the model's scores hold NaN or infinity.")


def apply_rules(spec: GenerationSpec, scores: np.ndarray, generated: Sequence[int]) -> np.ndarray:
    """Scores f32 [V] of the next token under all rules of a spec; -inf for excluded tokens.

    Args:
        scores: logits or log-probabilities f32 [V], not modified.
        generated: ids generated so far, without prefix and prompt.
    """
    count = len(generated)
    if spec.repetition_penalty != 1.0 or spec.no_repeat_ngram > 0:
        history = [*spec.prefix, *spec.begin, *generated]
        scores = repetition_penalty(scores, history, spec.repetition_penalty)
        scores = no_repeat_ngram(scores, history, spec.no_repeat_ngram)
    if count < spec.min_new_tokens:
        scores = suppress(scores, spec.eos)
    if count == 0 and spec.forced_first is not None:
        scores = force(scores, (spec.forced_first,))
    if count == spec.max_new_tokens - 1 and spec.forced_last:
        scores = force(scores, spec.forced_last)
    scores = suppress(scores, spec.suppress)
    if count == spec.suppress_first_at:
        scores = suppress(scores, spec.suppress_first)
    return scores


def repetition_penalty(scores: np.ndarray, history: Sequence[int], penalty: float) -> np.ndarray:
    """Scores f32 [V] in which ids of the history are less likely.

    Positive scores are divided by the penalty, negative ones multiplied (CTRL, arXiv 1909.05858).
    """
    if penalty == 1.0:
        return scores
    used = _ids_below(history, len(scores))
    scores = scores.copy()
    values, factor = scores[used], np.float32(penalty)
    scores[used] = np.where(values < 0, values * factor, values / factor)
    return scores


def no_repeat_ngram(scores: np.ndarray, history: Sequence[int], size: int) -> np.ndarray:
    """Scores f32 [V] with -inf for ids that would complete a run of `size` used before."""
    if size < 1 or len(history) < size:
        return scores
    ids = np.asarray(history, np.int64)  # [n]
    windows = np.lib.stride_tricks.sliding_window_view(ids, size)  # [n-size+1,size]
    suffix = ids[len(ids) + 1 - size :]  # [size-1]
    matches = (windows[:, :-1] == suffix).all(1)  # [n-size+1]
    return suppress(scores, windows[matches, -1].tolist())


def suppress(scores: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Scores f32 [V] with -inf for these ids; ids of V and above are ignored."""
    if not len(ids):
        return scores
    scores = scores.copy()
    scores[_ids_below(ids, len(scores))] = -np.inf
    return scores


def force(scores: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Scores f32 [V]: 0 for these ids and -inf for all others."""
    forced = np.full_like(scores, -np.inf)
    forced[list(ids)] = 0.0
    return forced


def _ids_below(ids: Sequence[int], limit: int) -> np.ndarray:
    """The unique ids below a limit, int64."""
    unique = np.unique(np.asarray(ids, np.int64))
    return unique[unique < limit]
