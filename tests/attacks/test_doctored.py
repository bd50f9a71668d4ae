"""Exports that went wrong: the gate refuses each and says where; `verify` refuses what got past."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doctored import GALLERY, doctor, empty_tail
from tiny_export import spec, write_weights

from edgecap.bundle.io import finalize, open_bundle
from edgecap.cli.app import main
from edgecap.core.errors import GateError
from edgecap.core.typed import dump
from edgecap.exporters import job
from edgecap.exporters.onnx import convert as to_onnx
from edgecap.runtime import load
from edgecap.runtime.reread import compare_readings, recorded

# Where the damage shows, in the gate's words.
WHERE = {
    "overflow in float16": "logits",
    "an outlier channel": "image_embedding",
    "scales on the wrong axis": "logits",
    "one biased token": "logits",
    "a constant encoder": "image_embedding",
}


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.mark.parametrize("damage", GALLERY)
def test_verify_refuses_what_reached_a_runtime(
    damage: str, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manifest vouches for the damaged file, as that of a fair but broken exporter would."""
    assert main(["verify", str(tiny_bundle)]) == 0
    manifest = open_bundle(tiny_bundle).manifest
    doctor(tiny_bundle, damage)
    finalize(tiny_bundle, manifest)
    infinite = damage == "overflow in float16"  # no figure tells how far it is off
    assert main(["verify", str(tiny_bundle)]) == (2 if infinite else 1)
    error = capsys.readouterr().err
    assert ("[bundle.not_finite]" if infinite else "[verify.failed]") in error
    assert ("the model's scores" if infinite else WHERE[damage]) in error


@pytest.mark.parametrize("file", ["decode.onnx", "tokenizer.json", "golden/logits.npy"])
def test_a_file_that_broke_off_at_the_right_size_is_refused(
    file: str, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty_tail(tiny_bundle / file)
    assert main(["verify", str(tiny_bundle)]) == 2
    assert f"[bundle.altered] {file}" in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.parametrize("damage", GALLERY)
def test_the_gate_saves_none_of_them(
    damage: str, weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = to_onnx.export

    def damaged(model: Any, asked: Any, directory: Path, *rest: Any) -> Any:
        places = real(model, asked, directory, *rest)
        doctor(directory, damage)
        return places

    monkeypatch.setattr(to_onnx, "export", damaged)
    with pytest.raises(GateError) as caught:
        job.export(spec(weights_file, tmp_path / "bundle"))
    infinite = damage == "overflow in float16"  # ends the comparison
    assert caught.value.code == ("parity.crashed" if infinite else "parity.failed")
    assert ("the model's scores" if infinite else WHERE[damage]) in caught.value.message
    assert "scene" in caught.value.message
    assert list(tmp_path.iterdir()) == []


def shifted_tokenizer(bundle: Path) -> None:
    """The words of a bundle's tokenizer, each one id further: another model's tokenizer."""
    file = bundle / "tokenizer.json"
    table = json.loads(file.read_text(encoding="utf-8"))
    first = len(table["special"])
    words = table["tokens"][first:]
    table["tokens"][first:] = words[-1:] + words[:-1]
    file.write_bytes(dump(table))


@pytest.mark.parametrize("part", ["tokenizer", "end token"])
def test_verify_refuses_the_words_of_another_model(
    part: str, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The graphs generate the recorded tokens, which say something else."""
    manifest = open_bundle(tiny_bundle).manifest
    if part == "tokenizer":
        shifted_tokenizer(tiny_bundle)
    else:
        index = json.loads((tiny_bundle / "golden" / "golden.json").read_bytes())
        used = (index["cases"][0]["tokens"][-1],)
        prompts = {name: replace(spec, eos=used) for name, spec in manifest.prompts.items()}
        manifest = replace(manifest, prompts=prompts, grammar=None)
    finalize(tiny_bundle, manifest)
    assert main(["verify", str(tiny_bundle)]) == 1
    assert "reading: 0.00% agree" in capsys.readouterr().err


def test_the_boxes_of_recorded_tokens_are_compared(tiny_bundle: Path) -> None:
    captioner = load(tiny_bundle)
    image = (tiny_bundle / "golden" / "image_00.png").read_bytes()
    (caption,) = captioner.caption([image])
    regions = captioner.manifest.regions
    assert regions is not None
    boxed = replace(caption, tokens=tuple(regions.first + edge for edge in (3, 5, 20, 30)))
    known = recorded(captioner, image, boxed)
    assert known.boxes is not None and len(known.boxes) == 1
    cases = [(image, boxed.tokens, boxed.lang)]
    (reading,) = compare_readings(captioner, cases, [known], [boxed])
    assert reading.passed
    captioner.manifest = replace(captioner.manifest, regions=replace(regions, bin_px=8))
    (reading,) = compare_readings(captioner, cases, [known], [boxed])
    assert not reading.passed
