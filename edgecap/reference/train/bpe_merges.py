"""Further BPE merges: tokens for a new language that change no tokenization of known ones.

A tokenizer trained without Dutch splits "driehoek" into six tokens, and a few hundred captions are
too few to learn such sequences for a hundred names. Merged, a name is one row of the token table.
As in BPE (Sennrich et al. 2016, arXiv 1508.07909) the most frequent adjacent pair is merged, but
only pairs that are adjacent in no word of a known grammar.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise, product

from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.words import words
from edgecap.runtime.tokenizer import SPACE, Tokenizer

MOST = 512  # new tokens; each costs a row of the table
SEEN = 2  # least number of occurrences of a pair in the captions
# Characters of a token. Caseless scripts carry more per character, and languages without
# spaces must not learn whole sentences.
_LONGEST, _LONGEST_CASELESS = 16, 6
_BYTE = "<0x"
Pair = tuple[str, str]


def known_pairs(tokenizer: Tokenizer, languages: Iterable[str]) -> set[Pair]:
    """The adjacent token pairs in all text of the grammars of `languages`."""
    pairs: set[Pair] = set()
    for language in languages:
        forms = [
            form for word in words(language) for form in (word, word.lower())
        ]  # lower case as in queries, too
        pieces = [piece for form in forms for piece in tokenizer.pieces(form)]
        spelled = [_spelled(tokenizer, piece) for piece in pieces]
        pairs.update(pair for tokens in spelled for pair in pairwise(tokens))
        if not for_language(language).rules.gap:  # no spaces: any word may follow any other
            starts, ends = {tokens[0] for tokens in spelled}, {tokens[-1] for tokens in spelled}
            pairs.update(product(ends | {SPACE}, starts))
    return pairs


def learn_merges(tokenizer: Tokenizer, captions: Iterable[str], kept: set[Pair]) -> Iterator[Pair]:
    """Merges for the captions, the most frequent first; never a pair of `kept`."""
    times = Counter(piece for caption in captions for piece in tokenizer.pieces(f" {caption}"))
    spelled = {word: _spelled(tokenizer, word) for word in times}
    counts: Counter[Pair] = Counter()  # of pairs that may be merged
    places: dict[Pair, set[str]] = defaultdict(set)  # words that contain a pair, or contained it

    @cache
    def allowed(pair: Pair) -> bool:
        return pair not in kept and _may_merge(tokenizer, pair)

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
            spelled[word] = _merged(spelled[word], best)
            count(word, 1)


def _spelled(tokenizer: Tokenizer, piece: str) -> list[str]:
    return [tokenizer.tokens[i] for i in tokenizer.encode_piece(piece)]


def _may_merge(tokenizer: Tokenizer, pair: Pair) -> bool:
    token = "".join(pair)
    letters = token.removeprefix(SPACE)
    caseless = letters.lower() == letters.upper()
    return (
        not any(part.startswith(_BYTE) for part in pair)
        and token not in tokenizer.ids  # shipped merges would continue from there
        and len(letters) <= (_LONGEST_CASELESS if caseless else _LONGEST)
    )


def _merged(tokens: Sequence[str], pair: Pair) -> list[str]:
    """`tokens` with every occurrence of the pair merged, leftmost first."""
    out: list[str] = []
    for token in tokens:
        if out and (out[-1], token) == pair:
            out[-1] += token
        else:
            out.append(token)
    return out
