"""What a cheap draft of the next tokens would be worth: tokens per step, captions unchanged.

    python -m edgecap.benchmarks.reference.drafts BUNDLE --n 100

A function that feeds several tokens at once could verify a draft: of w drafted tokens those are
kept that the model would have chosen itself, and its own next token comes for free. Here the
captions of a bundle are generated as usual, and counted is how many steps they would have taken.
Drafts: `ngram`, the likeliest continuation by the last tokens, of captions that the grammars write
about other scenes; `copy`, what followed the same tokens earlier in this caption, else `ngram`;
`oracle words`, as if every token were known but those of boxes; `oracle boxes`, the first token of
a box decided the rest.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgecap.core.errors import EdgecapError
from edgecap.reference.scenes.dataset import caption_rows
from edgecap.reference.scenes.grammar import picked_languages
from edgecap.reference.scenes.splits import drawing, scenes

ORDER = 4  # the most tokens that a table looks back
WIDTHS = (1, 3, 7)  # drafted tokens
Draft = Callable[[list[int], int], list[int]]  # tokens so far, width -> drafted tokens


class NgramTable:
    """The likeliest next token after the last 1 … ORDER tokens, longest context first."""

    def __init__(self, captions: Sequence[Sequence[int]]) -> None:
        counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for caption in captions:
            for i in range(1, len(caption)):
                for n in range(1, min(ORDER, i) + 1):
                    counts[tuple(caption[i - n : i])][caption[i]] += 1
        self._next = {context: found.most_common(1)[0][0] for context, found in counts.items()}

    def __len__(self) -> int:
        return len(self._next)

    def draft(self, tokens: list[int], width: int) -> list[int]:
        """Up to `width` tokens after `tokens`."""
        made: list[int] = []
        while len(made) < width:
            so_far = [*tokens, *made][-ORDER:]
            found = (self._next.get(tuple(so_far[-n:])) for n in range(len(so_far), 0, -1))
            token = next((token for token in found if token is not None), None)
            if token is None:
                break
            made.append(token)
        return made


def copied(table: NgramTable) -> Draft:
    """A draft that repeats what followed the last two tokens earlier in the caption."""

    def draft(tokens: list[int], width: int) -> list[int]:
        for i in range(len(tokens) - 3, 0, -1):
            if tokens[i - 1 : i + 1] == tokens[-2:]:
                return tokens[i + 1 : i + 1 + width]
        return table.draft(tokens, width)

    return draft


def steps(caption: Sequence[int], prompt: int, draft: Draft, width: int) -> int:
    """Steps that generate what follows the first `prompt` tokens of `caption`."""
    at, taken = prompt, 0
    while at < len(caption):
        drafted = draft(list(caption[:at]), width)
        kept = 0
        while kept < len(drafted) and caption[at + kept : at + kept + 1] == [drafted[kept]]:
            kept += 1
        at += kept + 1
        taken += 1
    return taken


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="edgecap.benchmarks.reference.drafts")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--n", type=int, default=100, help="scenes of the split test")
    parser.add_argument("--table", type=int, default=2000, help="scenes of the tables' captions")
    parser.add_argument("--lang", default="all")
    options = parser.parse_args(arguments)
    try:
        print(report(options.bundle, options.n, options.table, picked_languages(options.lang)))
    except EdgecapError as error:
        print(f"drafts: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def report(bundle: Path, n: int, table: int, languages: Sequence[str]) -> str:
    """Tokens per step of every draft and width, and the share of tokens that belong to boxes."""
    from edgecap import load

    captioner = load(bundle)
    images = [image for image, _ in scenes("test", n)]
    generated: dict[str, list[list[int]]] = {}
    vocabulary = captioner.vocabulary
    eos = vocabulary.eos
    for lang in languages:
        prompt = list(vocabulary.prompt(lang, "grounded"))
        found = captioner.caption_many(images, lang=lang)
        generated[lang] = [[*prompt, *caption.tokens, eos] for caption in found]
    tables = {lang: NgramTable(_written(lang, table, captioner, eos)) for lang in languages}
    places = set(vocabulary.locations)
    captions = [(lang, caption) for lang in languages for caption in generated[lang]]
    total = sum(len(caption) - 2 for _, caption in captions)
    boxed = sum(token in places for _, caption in captions for token in caption)
    lines = [
        f"{len(captions)} captions of {total / len(captions):.1f} tokens, {boxed / total:.0%} of "
        f"them in boxes; tables of {sum(map(len, tables.values()))} contexts",
        "draft         " + "".join(f"  w={width:<4d}" for width in WIDTHS) + "  tokens per step",
    ]
    rows: dict[str, Callable[[str, list[int]], Draft]] = {
        "ngram": lambda lang, _: tables[lang].draft,
        "copy": lambda lang, _: copied(tables[lang]),
        "oracle words": lambda _, caption: _oracle(caption, lambda i: caption[i] not in places),
        "oracle boxes": lambda _, caption: _oracle(
            caption, lambda i: caption[i] in places and caption[i - 1] in places
        ),
    }
    for name, make in rows.items():
        rates = []
        for width in WIDTHS:
            taken = sum(steps(c, 2, make(lang, c), width) for lang, c in captions)
            rates.append(total / taken)
        lines.append(f"{name:14s}" + "".join(f"  {rate:<6.2f}" for rate in rates))
    return "\n".join(lines)


def _oracle(caption: list[int], known: Callable[[int], bool]) -> Draft:
    def draft(tokens: list[int], width: int) -> list[int]:
        made: list[int] = []
        for i in range(len(tokens), min(len(tokens) + width, len(caption))):
            if not known(i):
                break
            made.append(caption[i])
        return made

    return draft


def _written(lang: str, n: int, captioner: Any, eos: int) -> list[list[int]]:
    """Captions of the grammar about the first n scenes of the split train, as tokens."""
    prompt = list(captioner.vocabulary.prompt(lang, "grounded"))
    captions = []
    for index in range(n):
        (row,) = caption_rows("", drawing("train", index).scene, "train", index, languages=(lang,))
        words = captioner.tokenizer.encode(row["grounded"], allow_special=True)
        captions.append([*prompt, *words, eos])
    return captions


if __name__ == "__main__":
    sys.exit(main())
