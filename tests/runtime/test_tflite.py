"""The TFLite backend on a real file.

tests/support/tiny_w8.tflite is `edgecap.exporters.tflite.convert` of a network with random weights
(width 32, one layer, two heads, embedding 8) in int8: converting takes 40 s, running does not.
"""

import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_formats import write
from tiny_onnx import image

from edgecap.bundle.io import finalize, open_bundle
from edgecap.cli import doctor
from edgecap.cli.app import main
from edgecap.core.errors import BundleError, MissingPackageError
from edgecap.models.loading import load
from edgecap.runtime.backends import tflite
from edgecap.runtime.image_processing import ModelInput
from edgecap.runtime.preprocess import preprocess
from edgecap.runtime.state import State

IMAGES = [image(seed, 60, 30 + 20 * seed) for seed in range(3)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("tflite", tmp_path_factory.mktemp("tflite"))


def test_several_images_and_single_ones_agree(bundle: Path) -> None:
    captioner = load(bundle)
    assert captioner.backend == "tflite"
    together = captioner.caption(IMAGES, max_length=8)
    alone = [captioner.caption(one, max_length=8)[0] for one in IMAGES]
    assert together == alone
    assert all(len(caption.tokens) > 1 for caption in together)


def test_beams_and_streams_run(bundle: Path) -> None:
    captioner = load(bundle)
    (greedy,) = captioner.caption(IMAGES[0], max_length=6)
    (beams,) = captioner.caption(IMAGES[0], max_length=6, beams=3)
    assert beams.score >= greedy.score - 1e-3
    assert "".join(captioner.stream(IMAGES[0], grounded=True, max_length=6)) == greedy.raw


def test_embeddings_and_attention(bundle: Path) -> None:
    captioner = load(bundle)
    for embedding in (captioner.embed_images(IMAGES), captioner.embed_texts(["a dog", "two"])):
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-3)
        assert not np.allclose(embedding[0], embedding[1])
    found = captioner.attention(IMAGES[0], max_length=4)
    assert all(0 < word.map.sum() <= 1.001 for word in found.words)


def test_threads_take_turns(bundle: Path) -> None:
    captioner = load(bundle)
    expected = [captioner.caption(one, max_length=6)[0].tokens for one in IMAGES]
    found: dict[int, tuple[int, ...]] = {}

    def work(i: int) -> None:
        found[i] = captioner.caption(IMAGES[i], max_length=6)[0].tokens

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(3)] == expected


def test_states_of_one_signature_take_turns(bundle: Path) -> None:
    graphs = load(bundle).graphs
    images = [preprocess(one, load(bundle).manifest.image)[0][None] for one in IMAGES[:2]]
    tokens = [1, 2, 3, 4]
    alone = []
    for image_ in images:  # each memory is that of a state which is gone
        state = State(graphs, graphs.encode(image_))
        alone.append([state.feed([token]).logits for token in tokens])
    states = [State(graphs, graphs.encode(image_)) for image_ in images]
    late = [State(graphs, [ModelInput(image_, (0, 0))]) for image_ in images]  # not yet encoded
    for i, token in enumerate(tokens):
        for state, expected in zip([*states, *late], [*alone, *alone], strict=True):
            np.testing.assert_array_equal(state.feed([token]).logits, expected[i])
    # A call of its own writes to the same tensors.
    inputs = {"token": [[1]], "position": [0]}
    function = graphs.interface.function("decode")
    graphs.run(
        "decode",
        {
            name: np.array(inputs[name], np.int32)
            if name in inputs
            else np.zeros(graphs.interface.sizes(spec.shape, 1), spec.dtype)
            for name, spec in function.inputs.items()
        },
    )
    states[0].back()
    np.testing.assert_array_equal(states[0].feed([tokens[-1]]).logits, alone[0][-1])


def test_an_early_error_leaves_the_runner_usable(bundle: Path) -> None:
    captioner = load(bundle)
    with pytest.raises(BundleError, match=r"bundle\.model"):
        captioner.graphs.encode(np.zeros((1, 10, 10, 3), np.uint8))
    assert captioner.caption(IMAGES[0], max_length=3)


@pytest.mark.parametrize("damage", ["not a model", "other signature", "other tensor"])
def test_what_the_interpreter_refuses_is_one_line(
    bundle: Path, tmp_path: Path, damage: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    manifest = open_bundle(copy).manifest
    functions = dict(manifest.functions)
    if damage == "not a model":
        (copy / "model.tflite").write_bytes(b"not a model at all")
    elif damage == "other signature":
        functions["decode"] = replace(functions["decode"], entry="step")
    else:
        functions["encode_text"] = replace(
            functions["encode_text"], inputs={"tokens": "words", "length": "length"}
        )
    finalize(copy, replace(manifest, functions=functions))
    with pytest.raises(BundleError) as caught:
        load(copy)
    assert caught.value.code == "bundle.model"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ImportError('numpy.core failed\\nto import')", "numpy.core failed to import."),
        ("import numpy; numpy.no_such", "no_such"),
        ("import edgecap_no_such", "No module named 'edgecap_no_such'."),
        ("", "Interpreter"),
    ],
)
def test_an_engine_that_does_not_import_is_one_line(
    body: str,
    said: str,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    package = tmp_path / "edgecap_broken"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    absent = ("edgecap_absent", "edgecap_absent.interpreter", "Interpreter")
    broken = ("edgecap_broken", "edgecap_broken.interpreter", "Interpreter")
    monkeypatch.setattr(tflite, "INTERPRETERS", (absent, broken))
    (tmp_path / "p.png").write_bytes(IMAGES[0])
    try:
        assert main(["caption", str(tmp_path / "p.png"), "--bundle", str(bundle)]) == 2
    finally:
        for name in broken[:2]:
            sys.modules.pop(name, None)
    (line,) = capsys.readouterr().err.splitlines()
    assert "[package.broken] edgecap_broken is installed but does not work" in line
    assert said in line and "edgecap doctor" in line


def test_no_engine_at_all_names_the_extra(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = (("edgecap_absent", "edgecap_absent.interpreter", "Interpreter"),)
    monkeypatch.setattr(tflite, "INTERPRETERS", absent)
    with pytest.raises(MissingPackageError, match=r"package\.missing.*edgecap_absent.*\[tflite\]"):
        load(bundle)


def test_doctor_looks_for_what_the_runtime_imports() -> None:
    looked = [part.module for part in doctor.BACKENDS if part.serves == "tflite"]
    assert looked == [module for _, module, _ in tflite.INTERPRETERS]


WITHOUT_TORCH = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "tensorflow", "litert_torch", "onnxruntime"):
            raise ModuleNotFoundError(name + " is blocked", name=name)

sys.meta_path.insert(0, Block())
from edgecap.runtime import load
print(load(sys.argv[1]).caption(sys.argv[2], max_length=4)[0].tokens)
"""


def test_it_captions_without_torch(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(IMAGES[0])
    command = [sys.executable, "-c", WITHOUT_TORCH, str(bundle), str(tmp_path / "p.png")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(load(bundle).caption(IMAGES[0], max_length=4)[0].tokens)
