"""A captioner converted to CoreML, evaluated behind the Session protocol, against PyTorch."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from method_session import Called
from mil import convert, ct, save
from tiny_onnx import image
from torch import Tensor, nn

from edgecap.bundle.files import FileEntry
from edgecap.bundle.io import Bundle
from edgecap.bundle.schema1 import identity_names
from edgecap.core.errors import BundleError
from edgecap.exporters.contract import functions
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.manifest import build_manifest
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.model.session import TorchSession
from edgecap.reference.shipped import shipped_tokenizer
from edgecap.runtime.backends.mlprogram import open_session
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.loading import captioner_of

CONFIG = CaptionerConfig(width=32, layers=1, heads=2, embedding=8)
IMAGES = [image(seed, 60, 30 + 20 * seed) for seed in range(3)]
HALVES = pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])


class FromPlanes(nn.Module):
    """encode_image of a pixel buffer."""

    def __init__(self, encode: nn.Module) -> None:
        super().__init__()
        self.encode = encode

    def forward(self, image: Tensor) -> Tensor:
        return self.encode(image.permute(0, 2, 3, 1).contiguous())


@pytest.fixture(scope="module")
def network() -> CaptionModel:
    torch.manual_seed(0)
    made = CaptionModel(CONFIG).eval()
    with torch.no_grad():
        made.token.weight.mul_(50)  # the choice of words survives rounding
    return made


def write_bundle(network: CaptionModel, folder: Path, half: bool) -> Bundle:
    """A package for each function, and a manifest that was not sealed."""
    kind = np.float16 if half else np.float32
    for function in functions(network):
        module, examples = function.module, list(function.inputs.values())
        inputs = [
            ct.TensorType(n, tuple(t.shape), dtype=kind if t.is_floating_point() else np.int32)
            for n, t in function.inputs.items()
        ]
        if function.name == "encode_image":
            module, examples = FromPlanes(module), [torch.zeros(1, 3, 224, 224)]
            inputs = [ct.ImageType("image", shape=(1, 3, 224, 224))]
        model = convert(module, examples, half, inputs, outputs=function.outputs)
        save(model, folder / f"{function.name}.mlpackage")
    manifest = build_manifest(
        CONFIG,
        name="tiny-coreml",
        model="tiny",
        format="coreml",
        precision="fp16" if half else "fp32",
        functions={
            f.name: replace(identity_names(f"{f.name}.mlpackage", f.name), entry="main")
            for f in functions(network)
        },
        cache="float16" if half else "float32",
        batch=1,
    )
    names = [f"{function.name}.mlpackage/Manifest.json" for function in functions(network)]
    names += ["tokenizer.json", "prompts.json"]
    files = {name: FileEntry("0" * 64, 1) for name in names}
    return Bundle(folder, replace(manifest, files=files))


@pytest.fixture(scope="module")
def bundles(network: CaptionModel, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Bundle]:
    return {
        half: write_bundle(network, tmp_path_factory.mktemp(f"half_{half}"), half)
        for half in (False, True)
    }


def captioner(bundle: Bundle) -> Captioner:
    tokenizer = shipped_tokenizer()
    session = open_session(bundle, 1)
    return captioner_of(session, bundle.manifest, tokenizer, "mlprogram")


@HALVES
def test_it_says_what_pytorch_says(
    bundles: dict[bool, Bundle], network: CaptionModel, half: bool
) -> None:
    bundle = bundles[half]
    reference = captioner_of(
        TorchSession(network), bundles[False].manifest, shipped_tokenizer(), "torch"
    )
    evaluated = captioner(bundle)
    found = evaluated.caption(IMAGES, max_length=8)
    assert [c.tokens for c in found] == [c.tokens for c in reference.caption(IMAGES, max_length=8)]
    tolerance = 2e-3 if half else 5e-6
    np.testing.assert_allclose(
        evaluated.embed_images(IMAGES), reference.embed_images(IMAGES), atol=tolerance
    )
    texts = ["a dog", "two cats and a star"]
    np.testing.assert_allclose(
        evaluated.embed_texts(texts), reference.embed_texts(texts), atol=tolerance
    )


@HALVES
def test_a_step_close_up(bundles: dict[bool, Bundle], network: CaptionModel, half: bool) -> None:
    tokenizer = shipped_tokenizer()
    evaluated = Called(captioner(bundles[half]).graphs)
    reference = Called(
        captioner_of(TorchSession(network), bundles[False].manifest, tokenizer, "torch").graphs
    )
    image = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    code, wanted = evaluated.encode_image(image), reference.encode_image(image)
    assert code.k.dtype == (np.float16 if half else np.float32)
    assert code.embedding.dtype == np.float32
    tolerance = 4e-3 if half else 2e-5
    for found, right in zip(code, wanted, strict=True):
        np.testing.assert_allclose(found, right, atol=tolerance)
    rows = [(0, 0)] * 3 + [(0, CONFIG.text_length), (0, 0)]
    k, v = (np.pad(each, rows) for each in (code.k, code.v))
    token, position = np.array([[5], [9]], np.int32), np.zeros(2, np.int32)
    step = evaluated.decode(token, position, k, v)
    right_step = reference.decode(token, position, k.astype(np.float32), v.astype(np.float32))
    assert step.logits.dtype == step.attention.dtype == np.float32
    for found, right in zip(step, right_step, strict=True):
        assert found.shape == right.shape
        np.testing.assert_allclose(found, right, atol=tolerance * np.abs(right).max())


def test_threads_share_a_session(bundles: dict[bool, Bundle]) -> None:
    shared = captioner(bundles[True])
    expected = [shared.caption(one, max_length=4)[0].tokens for one in IMAGES]
    found: dict[int, tuple[int, ...]] = {}

    def work(i: int) -> None:
        found[i] = shared.caption(IMAGES[i], max_length=4)[0].tokens

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(3)] == expected


@pytest.mark.parametrize("wrong", ["entry", "input", "output", "file"])
def test_a_manifest_that_does_not_fit(bundles: dict[bool, Bundle], wrong: str) -> None:
    bundle = bundles[False]
    functions = bundle.manifest.functions
    decode = functions["decode"]
    changed = {
        "entry": replace(decode, entry="step"),
        "input": replace(decode, inputs={**decode.inputs, "token": "word"}),
        "output": replace(decode, outputs={**decode.outputs, "logits": "scores"}),
        "file": replace(decode, file="other.mlpackage"),
    }[wrong]
    manifest = replace(bundle.manifest, functions={**functions, "decode": changed})
    with pytest.raises(BundleError) as caught:
        open_session(Bundle(bundle.path, manifest), 1)
    assert caught.value.code == ("bundle.missing_file" if wrong == "file" else "bundle.model")
    assert "\n" not in str(caught.value)


def test_tensors_of_another_contract(bundles: dict[bool, Bundle]) -> None:
    with pytest.raises(BundleError, match=r"bundle\.model.*encode_image\.mlpackage: image must be"):
        captioner(bundles[False]).graphs.encode(np.zeros((1, 10, 10, 3), np.uint8))


WITHOUT = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "coremltools", "google", "scipy", "onnxruntime"):
            raise ModuleNotFoundError(name + " is blocked", name=name)

sys.meta_path.insert(0, Block())
import numpy as np
from edgecap.mil.program import Program
program = Program.open(sys.argv[1])
out = program.function().run({"image": np.full((224, 224, 3), 7, np.uint8)})
print(sorted(out), out["image_embedding"].tobytes().hex())
"""


def test_it_needs_numpy_only(bundles: dict[bool, Bundle]) -> None:
    package = str(bundles[False].path / "encode_image.mlpackage")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, package], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("['image_embedding', 'k', 'v'] ")
    image = np.full((1, 224, 224, 3), 7, np.uint8)
    here = captioner(bundles[False]).graphs.encode(image)["image_embedding"]
    there = np.frombuffer(bytes.fromhex(done.stdout.split()[-1]), np.float32)
    np.testing.assert_allclose(there, here[0], atol=1e-6)
