"""The step that hands out every layer and head, in every format: values, size, and its gate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_export import spec
from tiny_onnx import image

from edgecap.apps.explain import layers, trace_caption
from edgecap.bundle.interface import DECODE_ATTENTION
from edgecap.bundle.io import open_bundle
from edgecap.exporters import job as pipeline
from edgecap.exporters.parity.attention import LOGITS, MAPS, compare_attention
from edgecap.exporters.parity.collect import collect
from edgecap.exporters.parity.tolerances import BOUNDS
from edgecap.models.loading import load
from edgecap.quant.samples import CalibrationSpec
from edgecap.reference.scenes.shipped import load_set
from edgecap.runtime import Captioner
from edgecap.runtime.backends.single import Arrays, FunctionSession
from edgecap.runtime.graphs import Graphs


@pytest.mark.full
def test_an_int8_bundle_hands_out_what_pytorch_looks_at(tiny: Path, tmp_path: Path) -> None:
    """The plan's grids of `decode` serve both steps; values in each format: test_formats."""
    small = CalibrationSpec(images=16)
    request = spec(tiny, tmp_path / "b", precision="w8a8", attention=True, calibration=small)
    done = pipeline.export(request)
    assert done.certificate is not None and done.certificate.verdict == "pass"
    judged = {one.output: one for one in done.certificate.outputs}
    assert judged[LOGITS].max_abs < 1e-5  # of the plain step's, int8 or not
    assert judged[MAPS].cosine > 0.9
    assert DECODE_ATTENTION in open_bundle(tmp_path / "b").manifest.functions
    reference, exported = load(tiny), load(tmp_path / "b")
    told = trace_caption(reference, image(0, 60, 40), max_length=6)
    got, want = layers(exported, told), layers(reference, told)
    assert got.shape == want.shape == (2, 2, len(told.tokens), 14, 14)
    assert np.abs(got - want).max() <= BOUNDS["w8a8"].by_head.max_abs


class Damaged(FunctionSession):
    """A session whose decode_attention is off by `change`."""

    batch = None

    def __init__(self, captioner: Captioner, change: str) -> None:
        self._session, self._change = captioner.graphs.session, change

    def run(self, name: str, inputs: Arrays) -> Arrays:
        made = dict(self._session.run(name, inputs))
        if name == DECODE_ATTENTION and self._change == LOGITS:
            made["logits"] = made["logits"] + 0.01
        elif name == DECODE_ATTENTION:
            made["attention"] = made["attention"][:, ::-1]  # layers the wrong way round
        return made


@pytest.mark.parametrize("damage", [LOGITS, MAPS])
def test_the_gate_sees_other_scores_and_other_heads(tiny: Path, damage: str) -> None:
    captioner = load(tiny)
    model_inputs = np.stack([image for image, _ in load_set("gate", 4)])
    references = collect(captioner, model_inputs, attention=True)
    assert all(one.passed for one in compare_attention(captioner, references))
    graphs = Graphs(Damaged(captioner, damage), captioner.graphs.interface)
    tokenizer, codec = captioner.tokenizer, captioner.codec
    other = Captioner(graphs, captioner.manifest, codec, "torch", tokenizer=lambda: tokenizer)
    (failed,) = (one for one in compare_attention(other, references) if not one.passed)
    assert failed.output == damage and failed.worst.startswith("scene 0")


def test_an_export_without_it_measures_no_heads(tiny: Path) -> None:
    captioner = load(tiny)
    model_inputs = np.stack([image for image, _ in load_set("gate", 4)])
    assert collect(captioner, model_inputs).by_head is None
