"""The step of several tokens, as it leaves the exporters, against the step of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_export import spec

from edgecap.bundle.interface import DECODE, EXTEND
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.exporters.job import export, prepare
from edgecap.exporters.tflite import graph
from edgecap.runtime import load
from edgecap.runtime.forcing import feed
from edgecap.runtime.logits import log_softmax
from edgecap.runtime.scoring import token_scores
from edgecap.runtime.state import State

N = 5


@pytest.mark.parametrize("format_", ["onnx", "tflite"])
def test_several_tokens_at_once_are_as_many_steps(tiny: Path, format_: str, tmp_path: Path) -> None:
    """Also where texts end within a call, and where the state has no room for a whole call."""
    export(spec(tiny, tmp_path / "b", format=format_, extend=N, verify=False))
    captioner = load(tmp_path / "b")
    graphs, T = captioner.graphs, captioner.vocabulary.text_length
    rng = np.random.default_rng(3)
    encoded = graphs.encode(rng.integers(0, 256, (3, 224, 224, 3), np.uint8))
    texts = [rng.integers(0, 300, length).tolist() for length in (T, 4, 7)]
    assert T % N  # the last call of the longest text has no room for all its rows
    one, several = (State(graphs, encoded, name) for name in (DECODE, EXTEND))
    assert (one.width, several.width) == (1, N)
    apart, together = list(feed(one, texts)), list(feed(several, texts))
    assert len(apart) == len(together) == T
    for a, b in zip(apart, together, strict=True):
        np.testing.assert_allclose(b.logits, a.logits, atol=1e-4)
    scores = token_scores(graphs, encoded, texts)
    for b, text in enumerate(texts):
        steps = [log_softmax(step.logits)[b] for step in apart[: len(text) - 1]]
        expected = [float(step[token]) for step, token in zip(steps, text[1:], strict=True)]
        np.testing.assert_allclose(scores[b], expected, atol=1e-4)
    if format_ == "tflite":
        _no_copies_of_factors((tmp_path / "b" / "model.tflite").read_bytes())


def _no_copies_of_factors(data: bytes) -> None:
    """No BATCH_MATMUL reads what a TRANSPOSE made, also through a RESHAPE."""
    model, codes = graph.read(data), graph.schema().BuiltinOperator
    products = 0
    for subgraph in model.subgraphs:
        found = graph.Graph(model, subgraph)
        makers = {index: op for op in subgraph.operators for index in op.outputs}
        for op in subgraph.operators:
            if found.code(op) == codes.BATCH_MATMUL:
                products += op.builtinOptions.adjY
                maker = makers.get(op.inputs[1])
                if maker is not None and found.code(maker) == codes.RESHAPE:
                    maker = makers.get(maker.inputs[0])
                assert maker is None or found.code(maker) != codes.TRANSPOSE
    assert products


def test_what_cannot_be_exported_is_refused_before_any_work(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 … 32"):
        prepare(spec(tiny, tmp_path / "b", extend=1))
    with pytest.raises(UnsupportedError, match="coreml"):
        prepare(spec(tiny, tmp_path / "b", formats=("coreml",), extend=4))
