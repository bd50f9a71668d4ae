"""Extend the vocabulary for a new language: its language token, and tokens for its words.

Missing characters get a token each, and frequent pairs in the captions are merged (bpe_merges.py).
Text of the known grammars is tokenized as before. A known language without a grammar may get other
tokens in rare words, and is rehearsed with those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from edgecap.reference.extension import Extension
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.scenes.grammar import GRAMMAR_LANGUAGES
from edgecap.reference.shipped import tokenizer_data
from edgecap.reference.train.bpe_merges import SEEN, known_pairs, learn_merges
from edgecap.runtime.tokenizer import Tokenizer


def extend(extension: Extension, language: str, captions: Sequence[str]) -> Extension:
    """`extension` with the language and with tokens for its captions."""
    after = extension.with_language(language).with_tokens(_characters(extension, captions), ())
    tokenizer = Tokenizer(tokenizer_data(after))
    with_grammar = [known for known in extension.languages if known in GRAMMAR_LANGUAGES]
    merges = tuple(learn_merges(tokenizer, captions, known_pairs(tokenizer, with_grammar)))
    # Two pairs may make the same token.
    return after.with_tokens(tuple(dict.fromkeys(map("".join, merges))), merges)


def _characters(extension: Extension, captions: Sequence[str]) -> tuple[str, ...]:
    """Missing characters; rare ones stay encoded as bytes."""
    known = Tokenizer(tokenizer_data(extension))
    counts = Counter(c for text in captions for piece in known.pieces(text) for c in piece)
    return tuple(
        sorted(c for c, n in counts.items() if n >= SEEN and c.isprintable() and c not in known.ids)
    )


def resize_embeddings(model: CaptionModel, before: Extension, after: Extension) -> CaptionModel:
    """A copy of the model with rows for what `after` adds to `before`; other rows are unchanged.

    A new token is initialised with the mean of the tokens that spelled it, a language with the
    mean of the languages before it. Letters: V vocabulary, D width.
    """
    old = Tokenizer(tokenizer_data(before))
    size = len(old) + len(after.tokens) - len(before.tokens)
    config = replace(model.config, vocabulary=max(size, model.config.vocabulary))
    larger = CaptionModel(config).to(model.token.weight.device)
    state = model.state_dict()
    table = larger.token.weight.detach().clone()  # [V,D]
    table[: model.config.vocabulary] = state["token.weight"]
    for i, spelled in enumerate(_spellings(old, before, after), start=len(old)):
        table[i] = table[spelled].mean(0)
    known = [before.token_id(language) for language in before.languages]
    for language in after.languages[len(before.languages) :]:
        table[after.token_id(language)] = table[known].mean(0)
    larger.load_state_dict({**state, "token.weight": table})
    return larger


def new_rows(before: Extension, after: Extension) -> list[int]:
    """The ids of the token table that `after` adds or assigns."""
    first = len(Tokenizer(tokenizer_data(before)))
    languages = after.languages[len(before.languages) :]
    added = range(first, first + len(after.tokens) - len(before.tokens))
    return [*map(after.token_id, languages), *added]


def _spellings(old: Tokenizer, before: Extension, after: Extension) -> list[list[int]]:
    """The previous ids of each token that `after` adds."""
    spelled: dict[str, list[int]] = {}
    parts = {"".join(merge): merge for merge in reversed(after.merges[len(before.merges) :])}
    for token in after.tokens[len(before.tokens) :]:
        spelled[token] = [
            i
            for part in parts.get(token, (token,))
            for i in spelled.get(part, old.encode_piece(part))
        ]
    return list(spelled.values())
