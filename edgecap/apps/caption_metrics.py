"""CIDEr-D, BLEU-4 and ROUGE-L of captions, as the evaluation of COCO captions defines them.

Written here because the only package with these definitions (pycocoevalcap, of 2020) brings 100 MB
of Java archives and needs Java to split words; `make check-scores` holds this file against it.

Letters: N images, n the length of an n-gram.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

ORDER = 4  # the longest n-grams
BETA = 1.2  # of ROUGE-L: recall counts more than precision
SIGMA = 6.0  # of CIDEr-D's penalty on length
_PUNCTUATION = frozenset(
    [
        '"',
        "''",
        "'",
        "``",
        "`",
        ".",
        "?",
        "!",
        ",",
        ":",
        "-",
        "--",
        "...",
        ";",
        *"。、，！？：；・「」",
    ]
)
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_JOINED = {
    **{word: (word[:3], word[3:]) for word in ("cannot", "gonna", "gotta", "gimme", "lemme")},
    "wanna": ("wan", "na"),
}
# Scripts without spaces between words: every character is a token.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(
    rf"""
      [{_UNSPACED}]
    | n['’]t\b | ['’](?:s|m|d|re|ve|ll)\b           # endings of contractions
    | \d+(?:[.,:/]\d+)*(?:[^\W\d_]+)?               # 3,000  4.5  10:30  1/2  2nd
    | (?:[^\W\d_]\.){{2,}}                          # u.s.
    | o'clock
    | (?:mr|mrs|ms|dr|st|vs|no)\.                   # abbreviations keep their full stop
    | [^\W{_UNSPACED}]+?(?=n['’]t\b)                # is|n't
    | [^\W{_UNSPACED}]+(?:[-&][^\W{_UNSPACED}]+)*   # t-shirt
    | \.\.\. | --+ | \S
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class CaptionScores:
    """Scores of N captions. BLEU-4 and ROUGE-L are in 0 … 1; CIDEr-D is 0 … 10."""

    cider_d: float | None  # None of one image: every word is in every image then
    bleu_4: float
    rouge_l: float


def tokenize(text: str) -> list[str]:
    """Words in lower case without punctuation, as the Penn Treebank splits them.

    Chinese, Japanese, Thai, Lao, Khmer and Burmese are split into characters.
    """
    found: list[str] = []
    for token in _TOKEN.findall(text.lower().replace("’", "'")):
        found += _JOINED.get(token, (_BRACKETS.get(token, token),))
    return [token for token in found if token not in _PUNCTUATION and set(token) != {"-"}]


def score_captions(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """Score one caption per image against all references of that image.

    Args:
        candidates: N captions.
        references: for each of the N images one or more captions.
    """
    written = [tokenize(text) for text in candidates]
    true = [[tokenize(text) for text in texts] for texts in references]
    rouges = [_rouge_l(words, refs) for words, refs in zip(written, true, strict=True)]
    return CaptionScores(
        None if len(written) < 2 else _mean(_cider_d(written, true)),
        _bleu(written, true),
        sum(rouges) / len(rouges),
    )


def cider_d_each(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each of N captions, 0 … 10; arguments as of `score_captions`, N 2 or more."""
    true = [[tokenize(text) for text in texts] for texts in references]
    return _cider_d([tokenize(text) for text in candidates], true)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


Words = Sequence[str]
NGrams = Counter[tuple[str, ...]]


def _ngrams(words: Words, n: int) -> NGrams:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _bleu(written: Sequence[Words], true: Sequence[Sequence[Words]]) -> float:
    """BLEU-4 of all captions together, against the reference whose length is closest."""
    right, made = [0] * ORDER, [0] * ORDER
    length = reference = 0
    for words, refs in zip(written, true, strict=True):
        length += len(words)
        reference += min((abs(len(ref) - len(words)), len(ref)) for ref in refs)[1]
        for n in range(1, ORDER + 1):
            allowed: NGrams = Counter()
            for ref in refs:
                allowed |= _ngrams(ref, n)
            right[n - 1] += (_ngrams(words, n) & allowed).total()
            made[n - 1] += max(0, len(words) - n + 1)
    if 0 in right:
        return 0.0
    precision = math.prod(a / b for a, b in zip(right, made, strict=True)) ** (1 / ORDER)
    return precision * min(1.0, math.exp(1 - reference / length))


def _rouge_l(words: Words, refs: Sequence[Words]) -> float:
    """The best precision and the best recall of any reference, weighed together."""
    common = [_longest_common(words, ref) for ref in refs]
    precision = max(common) / max(len(words), 1)
    recall = max(c / max(len(ref), 1) for c, ref in zip(common, refs, strict=True))
    if not precision or not recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def _longest_common(a: Words, b: Words) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0  # the entry of the row above, one to the left
        for i, other in enumerate(b, start=1):
            above = row[i]
            row[i] = before + 1 if word == other else max(above, row[i - 1])
            before = above
    return row[-1]


def _cider_d(written: Sequence[Words], true: Sequence[Sequence[Words]]) -> list[float]:
    """Of each image; the references of all N images show how rare an n-gram is."""
    images_with: Counter[tuple[str, ...]] = Counter()
    for refs in true:
        images_with.update({g for ref in refs for n in range(1, 5) for g in _ngrams(ref, n)})
    log_n = math.log(len(true))

    def weighed(words: Words, n: int) -> tuple[dict[tuple[str, ...], float], float]:
        vector = {
            gram: count * (log_n - math.log(max(1, images_with[gram])))
            for gram, count in _ngrams(words, n).items()
        }
        return vector, math.sqrt(sum(value * value for value in vector.values()))

    def similarity(words: Words, ref: Words, n: int) -> float:
        (a, norm_a), (b, norm_b) = weighed(words, n), weighed(ref, n)
        shared = sum(min(value, b[gram]) * b[gram] for gram, value in a.items() if gram in b)
        # Lengths are counted in pairs of words, as the reference does.
        apart = max(0, len(words) - 1) - max(0, len(ref) - 1)
        if norm_a and norm_b:
            shared /= norm_a * norm_b
        return shared * math.exp(-(apart**2) / (2 * SIGMA**2))

    return [
        10
        / (ORDER * len(refs))
        * sum(similarity(words, ref, n) for ref in refs for n in range(1, ORDER + 1))
        for words, refs in zip(written, true, strict=True)
    ]
