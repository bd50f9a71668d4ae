"""Every family's graphs can be traced without its weights."""

from __future__ import annotations

from typing import Any

import no_weights
import torch
from function_export import examples


def test_graphs_are_traced_without_weights(exported_case: Any) -> None:
    adapter = exported_case.adapter
    rows = adapter.interface.dims.get("T")
    bare = type(adapter)(adapter.checkpoint, rows, build=no_weights.build)
    assert bare.interface == adapter.interface
    assert bare.quant == adapter.quant
    assert all(hasattr(parameter, "fake_mode") for parameter in bare.model.parameters())
    for function in bare.functions():
        with torch.no_grad():
            program = torch.export.export(function.module, examples(function, bare.interface, 2))
        made = [node for node in program.graph.nodes if node.op == "output"][0].args[0]
        shapes = [tuple(node.meta["val"].shape) for node in made]
        wanted = [bare.interface.sizes(spec.shape, 2) for spec in function.outputs.values()]
        assert shapes == wanted
