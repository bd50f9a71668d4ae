"""Attention of single layers and heads through the captioner's API."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_onnx import image

from edgecap.bundle.interface import DECODE_ATTENTION
from edgecap.core.errors import EdgecapError
from edgecap.models.loading import load
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model import weights
from edgecap.reference.model.captioner import CaptionModel
from edgecap.runtime import Captioner

L, H = 2, 3


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Captioner:
    torch.manual_seed(0)
    network = CaptionModel(CaptionerConfig(width=24, layers=L, heads=H, embedding=16))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    weights.save(network, path, {})
    return load(path)


def test_layers_and_heads_average_to_the_default_map(reference: Captioner) -> None:
    shown = image(0, 40, 30)
    plain = reference.attention(shown, max_length=8)
    by_layer = [reference.attention(shown, max_length=8, layer=i) for i in range(L)]
    by_head = [
        [reference.attention(shown, max_length=8, layer=i, head=h) for h in range(H)]
        for i in range(L)
    ]
    assert {one.caption for one in by_layer} == {plain.caption}
    for w, word in enumerate(plain.words):
        maps = np.stack([[one.words[w].map for one in row] for row in by_head])  # [L,H,G,G]
        assert np.ptp(maps, axis=(0, 1)).max() > 1e-4  # heads differ, or this would prove nothing
        np.testing.assert_allclose(maps.mean((0, 1)), word.map, atol=1e-6)
        for i, one in enumerate(by_layer):
            np.testing.assert_allclose(one.words[w].map, maps[i].mean(0), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "head", "code"),
    [
        (L, None, "attention.layer"),
        (-1, None, "attention.layer"),
        (0, H, "attention.head"),
        (None, 0, "attention.layer"),
    ],
)
def test_a_layer_or_head_that_there_is_not(
    reference: Captioner, layer: int | None, head: int | None, code: str
) -> None:
    with pytest.raises(EdgecapError) as caught:
        reference.attention(image(0, 40, 30), layer=layer, head=head)
    assert caught.value.code == code and caught.value.exit_code == 2


def test_a_bundle_without_it_says_how_to_get_it(
    tiny_bundle_made: Path, tiny_attention_bundle: Path
) -> None:
    plain, richer = load(tiny_bundle_made), load(tiny_attention_bundle)
    assert not plain.manifest.interface.has(DECODE_ATTENTION)
    with pytest.raises(EdgecapError, match="--attention") as caught:
        plain.attention(image(0, 40, 30), layer=0)
    assert caught.value.code == "attention.missing"
    shown = image(0, 40, 30)
    got, want = (richer.attention(shown, max_length=6, layer=layer) for layer in (0, None))
    assert got.caption == want.caption
    for one, other in zip(got.words, want.words, strict=True):
        np.testing.assert_allclose(one.map, other.map, atol=1e-6)
