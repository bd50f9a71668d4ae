"""Two captioners side by side: that likeness is seen, and a difference is found where it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_onnx import write_bundle

from edgecap.benchmarks.compare import compare
from edgecap.benchmarks.comparison import Comparison
from edgecap.benchmarks.divergence import CacheSums, Divergence, Sums
from edgecap.benchmarks.worst import GAP, worst_sheet
from edgecap.bundle.io import finalize, open_bundle
from edgecap.cli.app import main
from edgecap.core.errors import UnsupportedError
from edgecap.models.loading import load
from edgecap.runtime import Captioner
from edgecap.runtime.draw import SMALLEST

L, B, H, R, DH = 3, 2, 2, 5, 4


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the same shape with other weights."""
    path = tmp_path_factory.mktemp("other") / "bundle"
    write_bundle(path, seed=5, verified=False)
    return path


def images(number: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 256, (number, 224, 224, 3)).astype(np.uint8))


@pytest.fixture(scope="module")
def pair(tiny_bundle_made: Path, other: Path) -> tuple[Comparison, Comparison]:
    """The tiny bundle held to itself, and another held to it."""
    one = load(tiny_bundle_made)
    shown = images(3)
    alike = compare(one, load(tiny_bundle_made), ("one", "again"), shown, ["en", "ja"])
    return alike, compare(one, load(other), ("one", "other"), shown, ["en", "ja"])


def test_a_captioner_equals_itself(pair: tuple[Comparison, Comparison]) -> None:
    figures = pair[0].figures()
    assert figures["scenes"] == 3 and figures["steps"] >= 3
    assert figures["top1"] == figures["same_words"] == figures["same_caption"] == 1
    assert figures["logits_max_abs"] == 0 and figures["first_difference"]["earliest"] is None
    assert figures["text_embedding_cosine"] is None  # it babbles on beyond what a text may have
    for what in ("image_embedding", "logits", "attention"):
        assert figures[f"{what}_cosine"]["least"] == pytest.approx(1)
    assert [one.function for one in pair[0].layers] == ["encode_image", "decode"]
    for one in pair[0].layers:
        assert one.first is None and all(stage.error == 0 for stage in one.stages)
    assert pair[0].worst(4) == []


def test_another_differs_in_everything(pair: tuple[Comparison, Comparison]) -> None:
    found = pair[1]
    figures = found.figures()
    assert figures["top1"] < 1 and figures["same_caption"] == 0
    assert figures["logits_cosine"]["mean"] < 0.9 and figures["logits_max_abs"] > 0.1
    assert figures["first_difference"]["earliest"] == min(
        one.first_difference for one in found.scenes
    )
    assert [one.captions[0].lang for one in found.scenes] == ["en", "ja", "en"]
    for one in found.layers:
        assert one.first is not None and one.first.name == "layer 0"
    # None shares a box: those whose scores are furthest apart come first.
    apart = [one.forced.apart.max() for one in found.scenes]
    assert [one.forced.apart.max() for one in found.worst(2)] == sorted(apart)[:0:-1]
    better = replace(found.worst(1)[0], ious=(0.5,), named=1)
    scenes = tuple(better if one.index == better.index else one for one in found.scenes)
    assert replace(found, scenes=scenes).worst(3)[-1] is better


def rows(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((L, B, H, R, DH)).astype(np.float32)


def divergence(change: np.ndarray, factor: np.ndarray | None = None) -> Divergence:
    """Keys and values with `change` [L] of noise added per layer, values times `factor` [H,Dh]."""
    sums = CacheSums()
    for seed in range(3):
        k, v = rows(seed), rows(seed + 10)
        noise = rows(seed + 20) * change[:, None, None, None, None]
        scale = 1 if factor is None else factor[None, None, :, None]
        sums.rows((k, v), (k + noise, (v + noise) * scale))
        sums.out(k[0, :, 0, 0], k[0, :, 0, 0])
    return sums.divergence("decode", "logits", 0.1)


def test_the_layer_that_parts_is_named() -> None:
    found = divergence(np.array([0.01, 0.02, 0.5]))
    assert found.first is not None and found.first.name == found.jump.name == "layer 2"
    errors = [stage.error for stage in found.stages]
    assert errors[:3] == pytest.approx([0.01, 0.02, 0.5], rel=0.25)
    assert errors[3] == 0 and found.stages[3].name == "logits"
    assert divergence(np.array([0.2, 0.2, 0.2])).jump.name == "layer 0"
    assert divergence(np.zeros(L)).first is None
    told = json.loads(json.dumps(found.to_json()))
    assert told["first_over_threshold"] == "layer 2" and len(told["stages"]) == L + 1


def test_value_channels_may_be_scaled_and_keys_may_not() -> None:
    factor = np.linspace(0.2, 5, H * DH).reshape(H, DH).astype(np.float32)
    scaled = divergence(np.array([0.0, 0.0, 0.3]), factor)
    plain = divergence(np.array([0.0, 0.0, 0.3]))
    for a, b in zip(scaled.stages[:L], plain.stages[:L], strict=True):
        assert a.value_error == pytest.approx(b.value_error, abs=1e-3)
    keys = CacheSums()
    k = rows(0)
    keys.rows((k, k), (2 * k, k))
    keys.out(k[0, :, 0, 0], k[0, :, 0, 0])
    assert keys.divergence("decode", "logits", 0.1).stages[0].key_error == pytest.approx(1)


def test_nothing_to_compare_is_no_error() -> None:
    sums = Sums()
    sums.update(np.zeros((2, 3, 4)), np.zeros((2, 3, 4)))
    for error, cosine in (sums.plain(), sums.up_to_a_factor()):
        assert error.tolist() == [0, 0] and cosine.tolist() == [1, 1]


def test_other_words_and_other_model_inputs_cannot_be_compared(tiny_bundle_made: Path) -> None:
    one = load(tiny_bundle_made)
    manifest = one.manifest
    interface = replace(manifest.interface, dims=manifest.interface.dims | {"T": 48})
    others = [
        replace(manifest, interface=interface),
        replace(manifest, image=replace(manifest.image, fill=0)),
    ]
    shorter, black = (
        Captioner(one.graphs, other, one.codec, "x", tokenizer=lambda: one.tokenizer)
        for other in others
    )
    for stranger, code in ((shorter, "compare.tokens"), (black, "compare.model_input")):
        with pytest.raises(UnsupportedError) as caught:
            compare(one, stranger, ("a", "b"), images(1), ["en"])
        assert caught.value.code == code


def halves(sheet: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """What the last rows of a sheet show of the one captioner and of the other."""
    last = np.asarray(sheet)[-500:]
    return last[:, GAP:][:, :SMALLEST], last[:, -GAP - SMALLEST : -GAP]


def test_the_sheet_has_a_row_per_scene_and_says_when_there_is_none(
    pair: tuple[Comparison, Comparison],
) -> None:
    shown = images(3)
    two = worst_sheet(("one", "other"), pair[1].worst(2), shown, 3)
    one = worst_sheet(("one", "other"), pair[1].worst(1), shown, 3)
    none = worst_sheet(("one", "again"), [], shown, 3)
    assert none.height < 100 and two.width == one.width == none.width
    assert two.height > one.height > none.height + 448
    (scene,) = pair[1].worst(1)
    same = replace(scene, captions=(scene.captions[0],) * 2)
    assert not np.array_equal(*halves(one))
    assert np.array_equal(*halves(worst_sheet(("one", "again"), [same], shown, 3)))


def test_the_command_prints_tables_writes_json_and_draws(
    tiny_bundle_made: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn, told = tmp_path / "worst.png", tmp_path / "told.json"
    arguments = ["compare", str(tiny_bundle_made), str(other), "--scenes", "2", "--lang", "de"]
    assert main([*arguments, "--image", str(drawn), "--json", str(told)]) == 0
    shown = capsys.readouterr().out
    assert "best next token the same" in shown and "layer 0 is the first over 0.1" in shown
    with Image.open(drawn) as image:
        assert image.size[0] > 900
    figures = json.loads(told.read_text(encoding="utf-8"))
    assert figures["lang"] == ["de"] and figures["scenes"] == 2
    assert set(figures["layers"]) == {"encode_image", "decode"}
    assert main([*arguments, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["top1"] == figures["top1"]


def test_what_cannot_be_compared_is_refused_in_one_line(
    tiny_bundle: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = open_bundle(tiny_bundle).manifest
    finalize(tiny_bundle, replace(manifest, image=replace(manifest.image, fill=0)))
    a, b = str(tiny_bundle), str(other)
    refused = {
        "compare.model_input": [a, b],
        "bundle.missing": [a, str(tmp_path / "no" / "bundle")],
        "language.unknown": [a, b, "--lang", "xx"],
        "draw.format": [a, b, "--image", "worst.txt"],
        "output.unwritable": [a, b, "--json", "no/such/place.json"],
        "usage": [a, b, "--scenes", "513"],
    }
    for code, arguments in refused.items():
        assert main(["compare", *arguments]) == 2, code
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1
        assert f"[{code}]" in captured.err
