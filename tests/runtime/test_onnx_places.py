"""Inputs and outputs of onnxruntime at fixed places in the host's memory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx

from edgecap.runtime.backends.buffers import Buffer, Move, Outputs
from edgecap.runtime.backends.onnx import OnnxSession

GRAPH = """<ir_version: 8, opset_import: ["" : 17]>
decode (float[1,3] x, float[1,3] kept) => (float[1,3] y, float[1,3] {new}) {{
  y = Add(x, kept)
  {rest}
}}"""
FLOAT = ((1, 3), np.dtype("float32"))


def test_a_state_that_is_returned_as_it_came_stays(tmp_path: Path) -> None:
    """An output that is an input is not written to the place of the output."""
    for new, rest in (("kept", ""), ("same", "same = Identity(kept)"), ("next", "next = Neg(x)")):
        model = onnx.parser.parse_model(GRAPH.format(new=new, rest=rest))
        onnx.save(model, tmp_path / "model.onnx")
        function = SimpleNamespace(
            file="model.onnx",
            inputs={"x": "x", "kept": "kept"},
            outputs={"logits": "y", "new_kept": new},
        )
        manifest = SimpleNamespace(functions={"decode": function}, batch=None)
        bundle: Any = SimpleNamespace(manifest=manifest, content=lambda file: tmp_path / file)
        buffers = {"x": Buffer((1, 3), "float32"), "kept": Buffer((1, 3), "float32")}
        outputs = Outputs("decode", {"logits": FLOAT, "new_kept": FLOAT})
        bound = OnnxSession(bundle, 1).bind("decode", {}, buffers)
        bound.write("kept", 7)
        made = []
        for _ in range(2):
            moves = [Move("new_kept", ..., "kept", ...)]
            made.append(bound.step({"x": [[1, 2, 3]]}, moves, outputs)["logits"])
        second = [8, 9, 10] if new != "next" else [0, 0, 0]
        np.testing.assert_array_equal(made, [[[8, 9, 10]], [second]])
