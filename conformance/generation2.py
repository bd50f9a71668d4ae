"""Rules of generation and beam search of schema 2, on made scores.

Scores and logits are whole numbers / 16, so that every language reads the same float32. Letters:
V vocabulary; R rows of the scripted table.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from files import Topic

from edgecap.bundle.generation_spec import generation_spec_from_json
from edgecap.runtime.beams import search
from edgecap.runtime.logits import apply_rules
from edgecap.runtime.rules import Rules

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


def beams() -> Topic:
    """Beam search over a table of logits [R,V] / 16.

    A sequence that was fed ids of the sum s, `begin` included, has the logits of row s mod R.
    `tokens` and `scores` include the end token; scores are without the rules.
    """
    generator = random.Random(8)
    table = [[generator.randint(-60, 60) for _ in range(V)] for _ in range(R)]
    cases = []
    for spec in _specs(generator):
        made = generation_spec_from_json(spec | {"beams": 2 + spec["beams"] % 4})
        sums = [sum(made.begin)]

        def step(tokens: Sequence[int], parents: Sequence[int], sums: list[int] = sums) -> Any:
            sums[:] = [sums[p] + t for p, t in zip(parents, tokens, strict=True)]
            return np.array([table[s % R] for s in sums], np.float32) / SCALE

        first = np.array(table[sums[0] % R], np.float32) / SCALE
        found = search(Rules(made), first, step)
        if not found:
            continue
        best = found[0]
        case = {"spec": {**spec, "beams": made.beams}, "tokens": list(best.tokens)}
        cases.append({**case, "scores": [round(score, 6) for score in best.scores]})
    return Topic("beams", vocabulary=V, rows=R, scale=SCALE, table=table, cases=cases)
