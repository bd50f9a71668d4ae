"""BPE continued: tokens for a new language's words that change no word of the known ones.

A tokenizer that never saw Dutch spells "driehoek" in six tokens, and a few hundred captions cannot
teach how the pieces of a hundred names follow each other. Joined, a name is one row of the table,
which they can. Each time that pair is joined which stands side by side most often (Sennrich et al.
2016, arXiv 1508.07909), of those that stand so in no word that a known grammar can say.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise, product

from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.words import words
from edgecap.runtime.tokenizer import SPACE, Tokenizer

MOST = 512  # tokens joined; each costs a row of the table
SEEN = 2  # times a pair stands in the captions, at least
# Characters of a token. Where letters have no case a character says more, and languages without
# spaces must not learn whole sentences.
_LONGEST, _LONGEST_CASELESS = 16, 6
_BYTE = "<0x"
Pair = tuple[str, str]


def known_pairs(tokenizer: Tokenizer, languages: Iterable[str]) -> set[Pair]:
    """The tokens that stand side by side in what the grammars of `languages` can say."""
    pairs: set[Pair] = set()
    for language in languages:
        said = [form for word in words(language) for form in (word, word.lower())]  # as typed, too
        pieces = [piece for form in said for piece in tokenizer.pieces(form)]
        spelled = [_spelled(tokenizer, piece) for piece in pieces]
        pairs.update(pair for tokens in spelled for pair in pairwise(tokens))
        if not for_language(language).rules.gap:  # any word may follow any other, unseparated
            starts, ends = {tokens[0] for tokens in spelled}, {tokens[-1] for tokens in spelled}
            pairs.update(product(ends | {SPACE}, starts))
    return pairs


def joins(tokenizer: Tokenizer, captions: Iterable[str], kept: set[Pair]) -> Iterator[Pair]:
    """Merges that shorten the captions, the most useful first; none joins a pair of `kept`."""
    times = Counter(piece for caption in captions for piece in tokenizer.pieces(f" {caption}"))
    spelled = {word: _spelled(tokenizer, word) for word in times}
    counts: Counter[Pair] = Counter()  # of pairs that may be joined
    places: dict[Pair, set[str]] = defaultdict(set)  # words that a pair stands in, or stood

    @cache
    def allowed(pair: Pair) -> bool:
        return pair not in kept and _may_join(tokenizer, pair)

    def count(word: str, sign: int) -> None:
        for pair in filter(allowed, pairwise(spelled[word])):
            counts[pair] += sign * times[word]
            places[pair].add(word)

    for word in spelled:
        count(word, 1)
    for _ in range(MOST):
        n, best = max(((n, pair) for pair, n in counts.items()), default=(0, ("", "")))
        if n < SEEN:
            return
        yield best
        for word in places.pop(best):
            count(word, -1)
            spelled[word] = _joined(spelled[word], best)
            count(word, 1)


def _spelled(tokenizer: Tokenizer, piece: str) -> list[str]:
    return [tokenizer.tokens[i] for i in tokenizer.encode_piece(piece)]


def _may_join(tokenizer: Tokenizer, pair: Pair) -> bool:
    token = "".join(pair)
    letters = token.removeprefix(SPACE)
    caseless = letters.lower() == letters.upper()
    return (
        not any(part.startswith(_BYTE) for part in pair)
        and token not in tokenizer.ids  # shipped merges would go on from there
        and len(letters) <= (_LONGEST_CASELESS if caseless else _LONGEST)
    )


def _joined(tokens: Sequence[str], pair: Pair) -> list[str]:
    """`tokens` with the pair joined wherever it stands, leftmost first."""
    out: list[str] = []
    for token in tokens:
        if out and (out[-1], token) == pair:
            out[-1] += token
        else:
            out.append(token)
    return out
