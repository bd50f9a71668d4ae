"""Rules of generation and beam search of schema 2, on made scores.

Scores and logits are whole numbers / 16, so that every language reads the same float32. Letters:
V vocabulary; R rows of the scripted table.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from files import Topic

from edgecap.bundle.generation_spec import generation_spec_from_json
from edgecap.core.errors import BundleError
from edgecap.runtime.decode import generate
from edgecap.runtime.logits import apply_rules
from edgecap.runtime.rules import Rules
from edgecap.runtime.sampling import Sampler, Sampling
from edgecap.runtime.state import Step

SCALE = 16
V, R = 24, 17


def _specs(generator: random.Random) -> list[dict[str, Any]]:
    specs = []
    for n in range(48):
        spec: dict[str, Any] = {
            "begin": [generator.randrange(V) for _ in range(1 + n % 3)],
            "eos": [[1], [], [1, 2]][n % 3],
            "max_new_tokens": 1 + n % 9,
        }
        if n % 2:
            spec["no_repeat_ngram"] = 1 + n % 4
            spec["prefix"] = [generator.randrange(V + 9) for _ in range(n % 5)]
        if n % 3:
            spec["repetition_penalty"] = (0.5, 1.25, 3.0)[n % 3]
        if n % 5 == 0:
            spec["suppress"] = [3, 5, 7]
            spec["suppress_first"] = [1, 9]
            spec["suppress_first_at"] = n % 2
        if n % 7 == 0:
            spec["forced_first"] = 11
            spec["forced_last"] = [1]
        spec["min_new_tokens"] = min(n % 4, spec["max_new_tokens"])
        spec["beams"] = 1 + n % 5
        spec["length_penalty"] = (1.0, 0.0, -1.0, 2.0)[n % 4]
        spec["early_stopping"] = ("heuristic", "first", "never")[n % 3]
        specs.append(spec)
    return specs


def logits_rules() -> Topic:
    """Scores [V] / 16 of the next token after `generated`, and which are what afterwards.

    `ruled`: float32 of the scores under the rules, null for minus infinity.
    """
    generator = random.Random(6)
    cases = []
    for spec in _specs(generator):
        made = generation_spec_from_json(spec)
        for _ in range(3):
            count = generator.randrange(made.max_new_tokens)
            generated = [generator.randrange(V) for _ in range(count)]
            scores = [generator.randint(-100, 100) for _ in range(V)]
            ruled = apply_rules(made, np.array(scores, np.float32) / SCALE, generated)
            shown = [float(x) if np.isfinite(x) else None for x in ruled]
            cases.append({"spec": spec, "generated": generated, "scores": scores, "ruled": shown})
    return Topic("logits_rules", vocabulary=V, scale=SCALE, cases=cases)


class Sums:
    """A state of sequences whose logits depend on the sum of the ids that each was fed."""

    is_one_by_one = False

    def __init__(self, table: np.ndarray) -> None:
        self._table, self._sums = table, [0]  # f32 [R,V]

    def __len__(self) -> int:
        return len(self._sums)

    def alone(self) -> Iterator[Sums]:
        yield self

    def prompt(self, tokens: Sequence[int]) -> Step:
        return self.feed([sum(tokens)])

    def feed(self, tokens: Sequence[int]) -> Step:
        self._sums = [s + token for s, token in zip(self._sums, tokens, strict=True)]
        return Step(self._table[[s % len(self._table) for s in self._sums]], None)

    def select(self, sequences: Sequence[int]) -> None:
        self._sums = [self._sums[n] for n in sequences]


def _sampling(number: int) -> dict[str, Any]:
    return {
        "temperature": (1.0, 0.5, 3.0)[number % 3],
        "top_k": (None, 5)[number % 2],
        "top_p": (None, 0.8, 0.3)[number % 3],
        "seed": number,
        "index": (0, 7)[number % 2],
    }


def beams() -> Topic:
    """Greedy decoding, beam search and sampling over a table of logits [R,V] / 16.

    A sequence that was fed ids of the sum s, `begin` included, has the logits of row s mod R.
    `scores`: of each token, without the rules; `score`: their mean, the end id's included. `code`:
    the error where the rules forbid every token.
    """
    generator = random.Random(8)
    table = [[generator.randint(-60, 60) for _ in range(V)] for _ in range(R)]
    cases: list[dict[str, Any]] = []
    for number, spec in enumerate(_specs(generator) * 3):
        spec = spec | {"beams": 2 + spec["beams"] % 4 if number < 48 else 1}
        sampling = _sampling(number) if number >= 96 else None
        rules = Rules(generation_spec_from_json(spec))
        choose = Sampler(Sampling(**sampling), [0]) if sampling else None
        try:
            (found,) = generate(Sums(np.array(table, np.float32) / SCALE), rules, choose)
        except BundleError as error:
            cases.append({"spec": spec, "sampling": sampling, "code": error.code})
            continue
        cases.append(
            {
                "spec": spec,
                "sampling": sampling,
                "tokens": found.tokens,
                "complete": found.complete,
                "scores": [round(chosen.score, 6) for chosen in found.chosen],
                "score": round(found.score, 6),
            }
        )
    return Topic("beams", vocabulary=V, rows=R, scale=SCALE, table=table, cases=cases)
