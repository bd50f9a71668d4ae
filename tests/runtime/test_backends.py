"""Real engines behind the interface: onnxruntime on a tiny bundle, PyTorch against its own twin."""

import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from tiny_onnx import image, keep_beside, write_bundle
from without import without

from edgecap.bundle.io import finalize, open_bundle
from edgecap.core.errors import BundleError, InputError, MissingPackageError, UnsupportedError
from edgecap.models.loading import load
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.model.session import TorchSession, reference_captioner
from edgecap.runtime import memory
from edgecap.runtime.backends import tflite
from edgecap.runtime.state import State

IMAGES = [image(seed, 40 + 9 * seed, 60) for seed in range(3)]


def test_batches_and_single_images_agree(tiny_bundle_made: Path) -> None:
    captioner = load(tiny_bundle_made)
    together = captioner.caption(IMAGES)
    alone = [captioner.caption(one)[0] for one in IMAGES]
    assert [c.tokens for c in together] == [c.tokens for c in alone]
    assert len({c.tokens for c in together}) > 1  # the model looks at the image
    np.testing.assert_allclose(
        captioner.embed_images(IMAGES),
        np.concatenate([captioner.embed_images(one) for one in IMAGES]),
        atol=1e-6,
    )


def test_embeddings_have_norm_one(tiny_bundle_made: Path) -> None:
    captioner = load(tiny_bundle_made)
    vectors = [captioner.embed_images(IMAGES), captioner.embed_texts(["a dog", "two cats"])]
    for embedding in vectors:
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-6)


def test_beams_never_end_below_greedy_by_much(tiny_bundle_made: Path) -> None:
    captioner = load(tiny_bundle_made)
    greedy = captioner.caption(IMAGES, max_length=12)
    beams = captioner.caption(IMAGES, beams=4, max_length=12)
    assert all(b.score >= g.score - 1e-3 for g, b in zip(greedy, beams, strict=True))


def test_one_session_serves_several_threads(tiny_bundle_made: Path) -> None:
    captioner = load(tiny_bundle_made, threads=2)
    expected = [caption.tokens for caption in captioner.caption(IMAGES)]
    found: list[list[tuple[int, ...]]] = []

    def work() -> None:
        found.append([caption.tokens for caption in captioner.caption(IMAGES)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


@pytest.mark.parametrize(
    ("options", "kind", "code"),
    [
        ({"backend": "tflite"}, UnsupportedError, "backend.format"),
        ({"backend": "torch"}, UnsupportedError, "backend.format"),
        ({"backend": "openvino"}, InputError, "backend.unknown"),
        ({"threads": 0}, InputError, "threads.number"),
        ({"threads": 1025}, InputError, "threads.number"),
    ],
)
def test_backends_that_cannot_are_refused(
    tiny_bundle_made: Path, options: dict, kind: type[Exception], code: str
) -> None:
    with pytest.raises(kind) as caught:
        load(tiny_bundle_made, **options)
    assert caught.value.code == code


@pytest.mark.parametrize(("host", "free"), [(1000, 170), (90, 90)])
def test_a_gpu_batch_fits_the_gpu_and_the_host(
    monkeypatch: pytest.MonkeyPatch, host: int, free: int
) -> None:
    """100 bytes free, and 70 that torch keeps of what it took: told by a stand-in for the GPU."""
    session = TorchSession(CaptionModel(CaptionerConfig(width=16, layers=1, heads=1, embedding=8)))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 400)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 330)
    monkeypatch.setattr(memory, "free_bytes", lambda: host)
    assert session.free_bytes() == host
    monkeypatch.setattr(session, "_device", torch.device("cuda"))
    assert session.free_bytes() == free and session.most > 8


def reseal(bundle: Path) -> None:
    from edgecap.bundle.files import MANIFEST
    from edgecap.bundle.schemas import manifest_from_json
    from edgecap.core.typed import parse

    finalize(bundle, manifest_from_json(parse((bundle / MANIFEST).read_bytes(), MANIFEST)))


def refuses(bundle: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load(bundle).caption(IMAGES[:1])
    assert "\n" not in str(caught.value)
    return caught.value.code


def test_a_file_that_is_no_model(tiny_bundle: Path) -> None:
    (tiny_bundle / "decode.onnx").write_bytes(b"not a model")
    reseal(tiny_bundle)
    assert refuses(tiny_bundle) == "bundle.model"


def test_a_model_that_the_engine_refuses(tiny_bundle: Path) -> None:
    graph = tiny_bundle / "decode.onnx"
    graph.write_bytes(graph.read_bytes().replace(b"MatMul", b"NatMul"))
    reseal(tiny_bundle)
    with pytest.raises(BundleError, match=r"\[bundle.model\] onnxruntime rejects decode.onnx"):
        load(tiny_bundle)


def test_weights_may_lie_in_a_file_of_the_bundle(tiny_bundle: Path) -> None:
    expected = load(tiny_bundle).caption(IMAGES[:1])[0].tokens
    keep_beside(tiny_bundle / "decode.onnx", "weights.bin", tiny_bundle / "weights.bin")
    reseal(tiny_bundle)
    assert load(tiny_bundle).caption(IMAGES[:1])[0].tokens == expected


@pytest.mark.parametrize("location", ["../secret", "{here}/secret", "golden/../../secret"])
def test_weights_outside_the_bundle_are_never_read(tiny_bundle: Path, location: str) -> None:
    here = tiny_bundle.parent
    keep_beside(tiny_bundle / "decode.onnx", location.format(here=here), here / "secret")
    reseal(tiny_bundle)
    assert refuses(tiny_bundle) == "bundle.path"


@pytest.mark.parametrize("location", ["none.bin", "*/_ORT_MEM_ADDR_/*", "n" * 300])
def test_weights_that_no_file_of_the_bundle_holds(tiny_bundle: Path, location: str) -> None:
    keep_beside(tiny_bundle / "decode.onnx", location, tiny_bundle.parent / "weights")
    reseal(tiny_bundle)
    assert refuses(tiny_bundle) == "bundle.missing_file"


def test_a_model_of_another_contract(tiny_bundle: Path) -> None:
    (tiny_bundle / "decode.onnx").write_bytes((tiny_bundle / "encode_text.onnx").read_bytes())
    reseal(tiny_bundle)
    assert refuses(tiny_bundle) == "bundle.model"


def test_a_manifest_that_promises_other_shapes(tiny_bundle: Path) -> None:
    manifest = open_bundle(tiny_bundle).manifest
    interface = replace(manifest.interface, dims=manifest.interface.dims | {"E": 5})
    finalize(tiny_bundle, replace(manifest, interface=interface))
    assert refuses(tiny_bundle) == "bundle.model"


def test_the_text_encoder_waits_until_it_is_needed(tiny_bundle: Path) -> None:
    (tiny_bundle / "encode_text.onnx").write_bytes(b"not a model")
    reseal(tiny_bundle)
    captioner = load(tiny_bundle)
    assert captioner.caption(IMAGES[:1])
    with pytest.raises(BundleError, match=r"bundle\.model"):
        captioner.embed_texts(["a dog"])


HEAVY = {"torch", "tensorflow", "onnx", "litert_torch", "coremltools", "tokenizers", "safetensors"}


def test_a_bundle_captions_and_verifies_without_torch(
    tiny_bundle_made: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.png").write_bytes(IMAGES[0])
    bundle = str(tiny_bundle_made)
    done = without(HEAVY, "caption", str(tmp_path / "p.png"), "--bundle", bundle)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
    assert without(HEAVY, "verify", bundle).returncode == 0


@pytest.mark.parametrize("blocked", ["onnxruntime", "torch"])
def test_a_missing_engine_is_one_line_with_the_remedy(
    tiny_bundle_made: Path, tmp_path: Path, blocked: str
) -> None:
    (tmp_path / "p.png").write_bytes(IMAGES[0])
    source = "S" if blocked == "torch" else str(tiny_bundle_made)
    done = without({blocked}, "caption", str(tmp_path / "p.png"), "--bundle", source)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("edgecap: [package.missing]")
    assert "pip install" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_tflite_interpreter_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = tuple((f"absent_{i}", f"absent_{i}.interpreter", "Interpreter") for i in range(2))
    monkeypatch.setattr(tflite, "INTERPRETERS", packages)
    with pytest.raises(MissingPackageError, match=r"absent_0, absent_1.*pip install"):
        tflite.interpreter_class()


def test_the_preferred_tflite_interpreter_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tflite.interpreter_class()[0] == "ai_edge_litert"
    absent = ("absent", "absent", "Interpreter")
    monkeypatch.setattr(tflite, "INTERPRETERS", (absent, *tflite.INTERPRETERS))
    assert tflite.interpreter_class()[0] == "ai_edge_litert"


def test_the_interpreter_of_tensorflow_is_that_of_its_attribute_lite(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """tensorflow's attribute lite is loaded late, and is another module than tensorflow.lite."""
    package, late = ModuleType("tensorflow"), ModuleType("tensorflow._api.v2.lite")
    monkeypatch.setattr(late, "Interpreter", object, raising=False)
    monkeypatch.setattr(package, "lite", late, raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow", package)
    monkeypatch.setitem(sys.modules, "tensorflow.lite", ModuleType("tensorflow.lite"))
    monkeypatch.setattr(tflite, "INTERPRETERS", tflite.INTERPRETERS[-1:])
    assert tflite.interpreter_class() == ("tensorflow", object)


def test_stepping_with_the_cache_equals_reading_at_once() -> None:
    """The host's loop over `decode` gives what the network's teacher-forced forward gives."""
    torch.manual_seed(0)
    config = CaptionerConfig(
        width=32, layers=2, heads=2, vocabulary=4096, embedding=8, image_size=64, text_length=12
    )
    network = CaptionModel(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4)  # random weights as they are attend evenly to everything
    graphs = reference_captioner(TorchSession(network)).graphs
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    said = np.random.default_rng(1).integers(0, 64, (2, 8))
    state = State(graphs, graphs.encode(images))
    stepped = np.stack([state.feed(said[:, t].tolist()).logits for t in range(8)], 1)
    with torch.no_grad():
        keys, values, _ = network.forward_image(torch.from_numpy(images))
        whole = network.logits(network.forward_text(torch.from_numpy(said), keys, values)).numpy()
    np.testing.assert_allclose(stepped, whole, atol=1e-3, rtol=1e-3)


def test_two_bundles_of_other_weights_say_other_things(tmp_path: Path) -> None:
    said = []
    for seed in (0, 1):
        write_bundle(tmp_path / str(seed), seed, verified=False)
        said.append(load(tmp_path / str(seed)).caption(IMAGES[0])[0].tokens)
    assert said[0] != said[1]
