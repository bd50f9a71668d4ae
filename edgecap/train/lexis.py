"""Room for a new language: the token that opens its captions, and tokens for its script.

Only characters that the vocabulary lacks get tokens, alone and joined: whatever it could spell
before is spelled the same after, so no other language sees a difference. Korean captions become
three to five times shorter; Dutch ones stay as they are.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch

from edgecap.core.extension import Extension
from edgecap.core.lazy import require
from edgecap.model.captioner import Captioner
from edgecap.runtime.loading import tokenizer_data
from edgecap.runtime.tokenizer import SPACE, Tokenizer

MOST_JOINED = 256  # tokens beyond single characters
_LONGEST = 6  # characters of a token: languages without spaces must not learn whole sentences
_SEEN = 2  # times a character occurs, at least; others stay bytes


def extended(extension: Extension, language: str, captions: Sequence[str]) -> Extension:
    """`extension` with the language and with tokens for what its captions are written in."""
    tokens, merges = _learn(Tokenizer(tokenizer_data(extension)), captions)
    return extension.with_language(language).with_tokens(tokens, merges)


def _learn(
    tokenizer: Tokenizer, captions: Sequence[str]
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    texts = [SPACE + unicodedata.normalize("NFC", text).replace(" ", SPACE) for text in captions]
    counts = Counter(character for text in texts for character in text)
    new = {
        c for c, n in counts.items() if c not in tokenizer.ids and n >= _SEEN and c.isprintable()
    }
    if not new:
        return (), ()
    require("tokenizers", "train")
    from tokenizers import Tokenizer as Learner
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    run = re.compile(f"{SPACE}?[{re.escape(''.join(sorted(new)))}]+")
    learner = Learner(BPE())
    learner.train_from_iterator(
        [word for text in texts for word in run.findall(text)],
        BpeTrainer(
            vocab_size=len(new) + 1 + MOST_JOINED,
            min_frequency=_SEEN,
            max_token_length=_LONGEST,
            initial_alphabet=sorted(new),
            show_progress=False,
        ),
    )
    learnt = json.loads(learner.to_str())["model"]
    by_id = sorted(learnt["vocab"], key=learnt["vocab"].get)
    merges = tuple((left, right) for left, right in learnt["merges"])
    return tuple(token for token in by_id if token not in tokenizer.ids), merges


def grown(model: Captioner, before: Extension, after: Extension) -> Captioner:
    """A copy of the model with rows for what `after` adds to `before`; others are as they were.

    A new token begins as the mean of the tokens that spelled it, a language as the mean of the
    languages before it. Letters: V vocabulary, D width.
    """
    old = Tokenizer(tokenizer_data(before))
    size = len(old) + len(after.tokens) - len(before.tokens)
    config = replace(model.config, vocabulary=max(size, model.config.vocabulary))
    larger = Captioner(config).to(model.token.weight.device)
    state = model.state_dict()
    table = larger.token.weight.detach().clone()  # [V,D]
    table[: model.config.vocabulary] = state["token.weight"]
    for i, token in enumerate(after.tokens[len(before.tokens) :], start=len(old)):
        table[i] = table[_spelling(old, token)].mean(0)
    known = [before.token_id(language) for language in before.languages]
    for language in after.languages[len(before.languages) :]:
        table[after.token_id(language)] = table[known].mean(0)
    larger.load_state_dict({**state, "token.weight": table})
    return larger


def new_rows(before: Extension, after: Extension) -> list[int]:
    """The ids of the token table that `after` adds or gives a meaning."""
    first = len(Tokenizer(tokenizer_data(before)))
    languages = after.languages[len(before.languages) :]
    added = range(first, first + len(after.tokens) - len(before.tokens))
    return [*map(after.token_id, languages), *added]


def _spelling(tokenizer: Tokenizer, token: str) -> torch.Tensor:
    ids = tokenizer.encode(token.removeprefix(SPACE))
    bare = ids[1:] if tokenizer.tokens[ids[0]] == SPACE and token[0] != SPACE else ids
    return torch.tensor(bare)
