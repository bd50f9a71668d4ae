"""Greedy decoding, sampling and beam search over a scripted table of logits: no model.

The scripted model: h = 0; for every token fed, the prompt's included, h = (h * 31 + token + 1) mod
R; the logits of the step are row h of `table`, int16 [R,V], divided by 16. So a logit depends on
all tokens before it, and a host that mixes up the states of two beams gets other captions.

Letters: V vocabulary, R rows of the table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from files import Topic
from rules import EOS, SCALE, V, plain, small_grammar

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.bundle.interface import AttentionGrid, FunctionSpec, Interface, StateEntry, TensorSpec
from edgecap.runtime.backends.single import Arrays, FunctionSession
from edgecap.runtime.decode import Generated, generate
from edgecap.runtime.grammar import TokenGrammar
from edgecap.runtime.graphs import Graphs
from edgecap.runtime.rules import Rules
from edgecap.runtime.sampling import Sampler, Sampling
from edgecap.runtime.state import State

R, T = 61, 24


# The state is the tokens fed so far: one text entry of one number a row.
FED = StateEntry("fed", "text", "key", 0, ("B", 1, "T", 1), "float32")
INTERFACE = Interface(
    {"T": T, "V": V, "E": 1, "P": 1, "h": 1, "w": 1},
    (
        FunctionSpec(
            "encode",
            {"image": TensorSpec("uint8", ("B", "h", "w", 3))},
            {"image_embedding": TensorSpec("float32", ("B", "E"))},
        ),
        FunctionSpec(
            "decode",
            {
                "token": TensorSpec("int32", ("B", 1)),
                "position": TensorSpec("int32", ("B",)),
                "fed": FED.tensor,
            },
            {
                "logits": TensorSpec("float32", ("B", "V")),
                "new_fed": FED.step,
                "attention": TensorSpec("float32", ("B", "P")),
            },
        ),
    ),
    (FED,),
    AttentionGrid(1, 1, 0),
)


class Scripted(FunctionSession):
    """The scripted model as a session. It reads the tokens so far from its state."""

    batch = None

    def __init__(self, table: np.ndarray) -> None:
        self._logits = table.astype(np.float32) / SCALE  # [R,V]

    def run(self, name: str, inputs: Arrays) -> Arrays:
        if name == "encode":
            return {"image_embedding": np.ones((len(inputs["image"]), 1), np.float32)}
        token, position, tokens_fed = inputs["token"], inputs["position"], inputs["fed"]
        heads = [
            history([*map(int, tokens_fed[b, 0, : position[b], 0]), int(token[b, 0])])
            for b in range(len(token))
        ]
        return {
            "logits": self._logits[heads],
            "new_fed": token.astype(np.float32)[:, None, :, None],  # [B,1,1,1]
            "attention": np.array(heads, np.float32)[:, None],  # [B,P=1]
        }


def history(fed: list[int]) -> int:
    h = 0
    for token in fed:
        h = (h * 31 + token + 1) % R
    return h


def table() -> np.ndarray:
    """int16 [R,V]; <eos> is likely enough that captions end, and some scores are equal."""
    generator = np.random.Generator(np.random.PCG64(5))
    values = generator.integers(-60, 60, (R, V)).astype(np.int16)
    values[:, EOS] += 45
    values[::7] //= 30  # rows of many equals
    values[::7] *= 30
    return values


def run(values: np.ndarray, case: dict[str, Any]) -> Generated:
    """What today's Python makes of a case."""
    graphs = Graphs(Scripted(values), INTERFACE)
    rule = TokenGrammar(small_grammar(), case["rule"], V, V) if case["rule"] else None
    spec = GenerationSpec(
        tuple(case["prompt"]), (EOS,), case["length"], beams=case["beams"], early_stopping="ended"
    )
    state = State(graphs, graphs.encode(np.zeros((1, 1, 1, 3), np.uint8)))
    choose = None
    if case["sampling"] is not None:
        choose = Sampler(Sampling(**case["sampling"]), [0])
    (generated,) = generate(state, Rules(spec, rule), choose)
    return generated


def searching() -> Topic:
    values = table()
    requests: list[dict[str, Any]] = []
    for rule in ("boxes", "plain", None):
        for length in (1, 2, 3, 4, 6, 9, 22):
            for beams in (1, 2, 3, 4, 8, 32):
                requests.append({"rule": rule, "length": length, "beams": beams, "sampling": None})
        for seed in range(4):
            sampling = {"temperature": 1.0 + seed, "top_k": None, "top_p": None, "seed": seed}
            sampling |= [{}, {"top_k": 5}, {"top_p": 0.8}, {"top_k": 9, "top_p": 0.5}][seed]
            sampling["index"] = [0, 1, 7, 2**32 - 1][seed]
            requests.append({"rule": rule, "length": 22, "beams": 1, "sampling": sampling})
    requests = [{"prompt": [2, 3], **case} for case in requests]
    for last in range(4, V):  # other beginnings: where <eos> is likely and ranks low among beams
        case = {"prompt": [2, last], "rule": None, "length": 22, "beams": 2, "sampling": None}
        requests.append(case)
    topic = Topic(
        "search",
        scale=SCALE,
        vocabulary=V,
        rows=R,
        text_length=T,
        eos=EOS,
        grammar=plain(small_grammar()),
        cases=(cases := []),
    )
    topic.keep(values.astype("<i2"))
    for case in requests:
        found = run(values, case)
        cases.append(
            {
                **case,
                "tokens": found.tokens,
                "complete": found.complete,
                "scores": [round(c.score, 6) for c in found.chosen],
                "score": round(found.score, 6),
                "heads": [int(c.attention[0]) for c in found.chosen],
            }
        )
    return topic
