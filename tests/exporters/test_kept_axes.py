"""Reductions of .tflite files that keep their axes: the same numbers from fewer operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgecap.exporters.quiet import quiet
from edgecap.exporters.tflite import graph as tflite_graph
from edgecap.exporters.tflite.kept_axes import keep_axes

D = 16


class Norms(nn.Module):
    """A mean that is used as it is, between two layer norms."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(D) for _ in range(2))
        self.line = nn.Linear(D, D)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norms[1](self.line(self.norms[0](x)))
        return x, x.mean((1, 2))


@pytest.mark.parametrize("rows", [1, 5])
def test_layer_norms_need_no_reshape(rows: int, tmp_path: Path) -> None:
    import litert_torch

    torch.manual_seed(0)
    module, x = Norms().eval(), torch.randn(1, rows, D)
    with quiet():
        litert_torch.signature("norms", module, (x,)).convert().export(str(tmp_path / "a.tflite"))
    tree = tflite_graph.read((tmp_path / "a.tflite").read_bytes())
    before = names(tree)
    keep_axes(tree)
    (tmp_path / "b.tflite").write_bytes(tflite_graph.write(tree))
    assert before.count("RESHAPE") - names(tree).count("RESHAPE") >= 2 * 2
    assert [each for each in names(tree) if each != "RESHAPE"] == [
        each for each in before if each != "RESHAPE"
    ]
    first, second = (outputs(tmp_path / name, x.numpy()) for name in ("a.tflite", "b.tflite"))
    assert sorted(each.shape for each in second) == [(1,), (1, rows, D)]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    with torch.no_grad():
        expected = module(x)[0].numpy()
    assert min(np.abs(each - expected).max() for each in second if each.ndim == 3) < 1e-5


def names(tree: Any) -> list[str]:
    graph = tflite_graph.Graph(tree, tree.subgraphs[0])
    return [graph.name(operator) for operator in graph.subgraph.operators]


def outputs(file: Path, x: np.ndarray) -> list[np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(file), num_threads=1).get_signature_runner("norms")
    return [value for _, value in sorted(runner(args_0=x).items())]
