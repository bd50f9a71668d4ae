"""Golden files: replayed on the bundle they came with, and against a bundle that drifted."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_onnx import write_bundle

from edgecap.bundle.files import MANIFEST
from edgecap.bundle.golden import read_golden
from edgecap.bundle.io import finalize, open_bundle
from edgecap.bundle.schema1 import Manifest
from edgecap.bundle.schemas import manifest_from_json
from edgecap.core.errors import BundleError
from edgecap.core.typed import parse
from edgecap.models.loading import load
from edgecap.runtime.forcing import teacher_forced
from edgecap.runtime.replay import force, replay


def test_a_bundle_replays_its_own_golden(tiny_bundle_made: Path) -> None:
    found = replay(load(tiny_bundle_made), read_golden(open_bundle(tiny_bundle_made)))
    assert found.verdict == "pass"
    assert {output.output: output.max_abs for output in found.outputs}["model_input"] == 0
    assert found.agreements[0].agreement == 1


def test_captions_are_fed_in_company_as_alone(tiny_bundle_made: Path) -> None:
    """One that says nothing among them."""
    captioner = load(tiny_bundle_made)
    model_inputs = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    encoded = captioner.graphs.encode(model_inputs)
    prompt = captioner.vocabulary.prompt("en", "plain")
    said = [[600, 601, 602], [], [603]]
    together = teacher_forced(captioner.graphs, encoded, prompt, said)
    assert [len(logits) for logits, _ in together] == [4, 1, 2]
    for model_input, tokens, (logits, attention) in zip(model_inputs, said, together, strict=True):
        alone = force(captioner, model_input, "en", "plain", tokens, len(tokens) + 1)
        np.testing.assert_allclose(logits, alone.logits, atol=1e-5)
        np.testing.assert_allclose(attention, alone.attention, atol=1e-5)


def test_other_weights_fail_and_every_output_is_named(tiny_bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_bundle(other, seed=5, verified=False)
    found = replay(load(other), read_golden(open_bundle(tiny_bundle)))
    failed = " ".join(found.failures)
    for name in ("image_embedding", "logits", "attention", "text_embedding", "tokens"):
        assert name in failed
    assert "model_input" not in failed


@pytest.mark.parametrize(
    "damage",
    [
        np.zeros((2, 5), np.float32),
        np.zeros((2, 4), np.float64),
        np.array([{"an": "object"}], object),
    ],
)
def test_a_foreign_array_is_refused(tiny_bundle: Path, damage: np.ndarray) -> None:
    np.save(tiny_bundle / "golden" / "image_embedding.npy", damage)
    finalize(tiny_bundle, open_manifest(tiny_bundle))
    with pytest.raises(BundleError, match=r"bundle\.golden"):
        read_golden(open_bundle(tiny_bundle))


def test_a_header_that_promises_too_much_allocates_nothing(tiny_bundle: Path) -> None:
    path = tiny_bundle / "golden" / "logits.npy"
    true, false = b"(2, 4, 4096), }" + b" " * 9, b"(2, 4999999999, 4096), }"
    data = path.read_bytes()
    assert true in data
    path.write_bytes(data.replace(true, false))
    finalize(tiny_bundle, open_manifest(tiny_bundle))
    with pytest.raises(BundleError, match=r"bundle\.golden"):
        read_golden(open_bundle(tiny_bundle))


def test_a_garbled_header_is_refused(tiny_bundle: Path) -> None:
    path = tiny_bundle / "golden" / "logits.npy"
    path.write_bytes(path.read_bytes().replace(b"(2, 4,", b"(2, (,"))
    finalize(tiny_bundle, open_manifest(tiny_bundle))
    with pytest.raises(BundleError, match=r"bundle\.golden"):
        read_golden(open_bundle(tiny_bundle))


def test_a_zip_under_the_name_of_an_array_is_refused(tiny_bundle: Path) -> None:
    with (tiny_bundle / "golden" / "logits.npy").open("wb") as file:
        np.savez(file, a=np.zeros(3))
    finalize(tiny_bundle, open_manifest(tiny_bundle))
    with pytest.raises(BundleError, match=r"bundle\.golden"):
        read_golden(open_bundle(tiny_bundle))


def test_a_token_of_no_vocabulary_is_refused(tiny_bundle: Path) -> None:
    file = tiny_bundle / "golden" / "golden.json"
    index = json.loads(file.read_text())
    index["cases"][0]["tokens"][0] = 10**10
    file.write_text(json.dumps(index))
    finalize(tiny_bundle, open_manifest(tiny_bundle))
    with pytest.raises(BundleError, match=r"bundle\.golden"):
        read_golden(open_bundle(tiny_bundle))


@pytest.mark.parametrize("image", ["a.mlpackage", "../decode.onnx", "none.png"])
def test_a_case_whose_image_is_no_file_is_refused(tiny_bundle: Path, image: str) -> None:
    (tiny_bundle / "golden" / "a.mlpackage").mkdir()
    (tiny_bundle / "golden" / "a.mlpackage" / "image.png").write_bytes(b"")
    file = tiny_bundle / "golden" / "golden.json"
    index = json.loads(file.read_text())
    index["cases"][0]["image"] = image
    file.write_text(json.dumps(index))
    finalize(tiny_bundle, open_manifest(tiny_bundle))
    with pytest.raises(BundleError, match=r"bundle\.missing_file"):
        read_golden(open_bundle(tiny_bundle))


@pytest.mark.parametrize("lacking", [{"texts": []}, {"steps": 0}])
def test_golden_files_that_compare_nothing_are_refused(
    tiny_bundle: Path, lacking: dict[str, object]
) -> None:
    file = tiny_bundle / "golden" / "golden.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **lacking}))
    finalize(tiny_bundle, open_manifest(tiny_bundle))
    with pytest.raises(BundleError, match=r"bundle\.golden"):
        read_golden(open_bundle(tiny_bundle))


def test_without_golden_there_is_nothing_to_verify(tiny_bundle: Path) -> None:
    manifest = open_manifest(tiny_bundle)
    shutil.rmtree(tiny_bundle / "golden")
    finalize(tiny_bundle, manifest)
    with pytest.raises(BundleError, match=r"bundle\.missing_file"):
        read_golden(open_bundle(tiny_bundle))


def open_manifest(bundle: Path) -> Manifest:
    """The manifest as it is, whatever the files are by now."""
    return manifest_from_json(parse((bundle / MANIFEST).read_bytes(), MANIFEST))
