"""The Core ML backend, over coremltools' own MLModel with its native layer replaced.

Only the class that libcoremlpython brings on a Mac, `_MLModelProxy`, is a fake: what coremltools
checks and converts on the way to it, it checks and converts here. The fake records each call, takes
what CoreMLPythonUtils.mm takes (float32 and int32 arrays, Pillow images) and gives what it gives
(float32 arrays).
"""

import json
import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from method_session import Called
from PIL import Image
from tiny_mlpackage import CACHE, ROW, ROWS, E, P, V, quiet, write_bundle
from tiny_onnx import image

from edgecap.bundle.io import finalize, open_bundle
from edgecap.cli.app import main
from edgecap.core.errors import BundleError, InputError, MissingPackageError, UnsupportedError
from edgecap.models.loading import load
from edgecap.runtime import backends
from edgecap.runtime.backends import coreml, select
from edgecap.runtime.graphs import Graphs

with quiet():
    from coremltools.models import model as tools_model

STATEFUL = "decode_stateful"
OUTPUTS: dict[str, dict[str, tuple[int, ...]]] = {
    "encode_image": {"k": ROWS, "v": ROWS, "image_embedding": (1, E)},
    "decode": {"logits": (1, V), "k_new": ROW, "v_new": ROW, "attention": (1, P)},
    "decode_stateful": {"logits": (1, V), "attention": (1, P)},
    "encode_text": {"text_embedding": (1, E)},
}


@dataclass
class Recorder:
    """What reached the native layer: ("load", …), ("predict", …), ("state", …) in order."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    load_error: str = ""
    predict_error: str = ""
    newest: int = 10  # the specification version that this Mac knows

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == kind]


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """coremltools as on macOS 15, down to the calls into its native layer."""
    record = Recorder()

    class Proxy:
        @staticmethod
        def maximum_supported_specification_version() -> int:
            return record.newest

        def __init__(self, path: str, units: str, function: str, hints: dict, asset: None) -> None:
            if record.load_error:
                raise RuntimeError(record.load_error)
            self.function = function
            record.calls.append(("load", Path(path).name, units, function))

        def predict(self, data: dict[str, Any], state: Any) -> dict[str, np.ndarray]:
            if record.predict_error:
                raise RuntimeError(record.predict_error)
            record.calls.append(("predict", self.function, dict(data), state))
            total = sum(_mean(value) for value in data.values())
            shapes = OUTPUTS[self.function]
            return {name: np.full(shape, total, np.float32) for name, shape in shapes.items()}

        def newState(self) -> str:
            record.calls.append(("state", self.function))
            return f"state {len(record.of('state'))}"

    monkeypatch.setattr(tools_model, "_MLModelProxy", Proxy)
    monkeypatch.setattr(tools_model, "_is_macos", lambda: True)
    monkeypatch.setattr(tools_model, "_macos_version", lambda: (15, 0))
    yield record


def _mean(value: Any) -> float:
    return float(np.asarray(value, np.float64).mean())


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("coreml") / "tiny-coreml-fp16", "portable")


@pytest.fixture(scope="module")
def stateful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("coreml") / "tiny-stateful", "stateful", "float16")


def opened(path: Path) -> Called:
    """The functions of a bundle on CoreML."""
    bundle = open_bundle(path)
    return Called(Graphs(coreml.open_session(bundle, 1), bundle.manifest.interface))


def test_each_function_is_loaded_by_its_name(native: Recorder, portable: Path) -> None:
    session = opened(portable)
    assert native.calls == [
        ("load", "model.mlpackage", "ALL", "encode_image"),
        ("load", "model.mlpackage", "ALL", "decode"),
    ]
    embedding = session.encode_text(np.zeros((2, 96), np.int32), np.array([3, 4], np.int32))
    assert embedding.shape == (2, E)
    assert native.of("load")[2:] == [("model.mlpackage", "ALL", "encode_text")]  # once, when needed


def test_compute_units_are_passed_on(native: Recorder, portable: Path) -> None:
    coreml.CoremlSession(open_bundle(portable), "CPU_ONLY")
    assert {units for _, units, _ in native.of("load")} == {"CPU_ONLY"}


def test_a_image_goes_in_as_a_pixel_buffer(native: Recorder, portable: Path) -> None:
    session = opened(portable)
    model_inputs = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    code = session.encode_image(model_inputs)
    assert code.k.shape == code.v.shape == (1, 2, 1, 196, 8)
    assert code.embedding.shape == (2, E)
    for (function, data, state), model_input in zip(
        native.of("predict"), model_inputs, strict=True
    ):
        assert (function, set(data), state) == ("encode_image", {"image"}, None)
        assert isinstance(data["image"], Image.Image) and data["image"].mode == "RGB"
        np.testing.assert_array_equal(np.asarray(data["image"]), model_input)
    np.testing.assert_allclose(
        code.embedding[:, 0], [_mean(model_input) for model_input in model_inputs], 1e-6
    )


def test_a_step_feeds_arrays_of_the_described_types(native: Recorder, portable: Path) -> None:
    session = opened(portable)
    k = np.random.default_rng(1).standard_normal((1, 2, 1, 292, 8)).astype(np.float16)
    token, position = np.array([[5], [6]], np.int64), np.array([0, 1], np.int64)
    step = session.decode(token, position, k, k + 1)
    assert step.logits.shape == (2, V) and step.attention.shape == (2, P)
    assert step.k.shape == step.v.shape == (1, 2, 1, 1, 8)
    assert len(native.of("predict")) == 2
    for b, (function, data, state) in enumerate(native.of("predict")):
        assert (function, state) == ("decode", None)
        assert {name: (value.dtype, value.shape) for name, value in data.items()} == {
            "token": (np.int32, (1, 1)),
            "position": (np.int32, (1,)),
            "k": (np.float32, CACHE),
            "v": (np.float32, CACHE),
        }
        assert (data["token"][0, 0], data["position"][0]) == (5 + b, b)
        np.testing.assert_array_equal(data["k"][:, 0], k[:, b])


def test_the_step_with_a_state(native: Recorder, stateful: Path) -> None:
    session = coreml.CoremlSession(open_bundle(stateful))
    assert STATEFUL not in {function for _, _, function in native.of("load")}
    step = session.function(STATEFUL)
    rows = np.random.default_rng(2).standard_normal((2, *ROWS)).astype(np.float16)
    for caption in range(2):
        state = step.make_state()
        for position in range(2):
            feed = {"token": np.array([[7]]), "position": np.array([position])}
            out = step.run({**feed, "k_image": rows[0], "v_image": rows[1]}, state)
            assert out["logits"].shape == (1, V) and out["attention"].shape == (1, P)
        given = [state for _, _, state in native.of("predict")[2 * caption :]]
        assert given == [f"state {caption + 1}"] * 2
    for function, data, _ in native.of("predict"):
        assert function == STATEFUL
        assert {name: value.dtype for name, value in data.items()} == {
            "token": np.int32,
            "position": np.int32,
            "k_image": np.float32,
            "v_image": np.float32,
        }
        np.testing.assert_array_equal(data["v_image"], rows[1])
    assert native.of("load")[2:] == [("model.mlpackage", "ALL", STATEFUL)]


def test_a_mac_too_old_for_states(
    native: Recorder, stateful: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = coreml.CoremlSession(open_bundle(stateful)).function(STATEFUL)
    monkeypatch.setattr(tools_model, "_macos_version", lambda: (14, 0))
    assert "macOS 15" in refusal(step.make_state).message


def test_captions_come_out_of_the_whole_runtime(
    native: Recorder, portable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "sys", SimpleNamespace(platform="darwin"))
    captioner = load(portable, "coreml")
    assert captioner.backend == "coreml"
    (caption,) = captioner.caption(image(0, 50, 40), max_length=4)
    assert (caption.tokens, caption.complete) == ((), True)  # all words alike: the first, <eos>
    called = [function for function, _, _ in native.of("predict")]
    assert called == ["encode_image", "decode", "decode"]  # the language and the style


def test_threads_take_turns(native: Recorder, portable: Path) -> None:
    session = opened(portable)
    inside, most = 0, 0
    model = session.graphs.session.function("encode_text")._model
    predict = model.predict

    def slow(data: dict[str, Any], state: Any = None) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        threading.Event().wait(0.01)
        inside -= 1
        return predict(data, state)

    model.predict = slow
    arguments = (np.zeros((1, 96), np.int32), np.ones(1, np.int32))
    threads = [threading.Thread(target=session.encode_text, args=arguments) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, len(native.of("predict"))) == (1, 4)


def refusal(work: Callable[[], object]) -> BundleError:
    with pytest.raises(BundleError) as caught:
        work()
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_package_that_the_framework_cannot_load(native: Recorder, portable: Path) -> None:
    native.load_error = 'Error compiling model:\n  "a reason".'
    error = refusal(lambda: coreml.open_session(open_bundle(portable), 1))
    assert error.code == "bundle.model"
    assert (
        "model.mlpackage" in error.message and 'Error compiling model: "a reason"' in error.message
    )


def test_a_prediction_that_fails(native: Recorder, portable: Path) -> None:
    session = opened(portable)
    native.predict_error = "no memory\nfor this"
    error = refusal(lambda: session.encode_text(np.zeros((1, 96)), np.ones(1)))
    assert error.code == "bundle.model" and "no memory for this" in error.message
    native.predict_error = "Failed to allocate 9 bytes"
    with pytest.raises(MemoryError, match="9 bytes"):
        session.encode_text(np.zeros((1, 96)), np.ones(1))
    native.predict_error = ""
    assert session.encode_text(np.zeros((1, 96)), np.ones(1)).shape == (1, E)


def test_a_mac_too_old_for_the_package(native: Recorder, portable: Path) -> None:
    native.newest = 8
    session = opened(portable)
    error = refusal(lambda: session.encode_text(np.zeros((1, 96)), np.ones(1)))
    assert "specification has version 9" in error.message


@pytest.mark.parametrize("damage", ["function", "input", "output", "weights"])
def test_a_package_of_another_contract(
    native: Recorder, portable: Path, tmp_path: Path, damage: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(portable, copy)
    manifest = open_bundle(copy).manifest
    functions = dict(manifest.functions)
    decode = functions["decode"]
    if damage == "function":
        functions["decode"] = replace(decode, entry="step")
    elif damage == "input":
        functions["decode"] = replace(decode, inputs={**decode.inputs, "k": "keys"})
    elif damage == "output":
        functions["decode"] = replace(decode, outputs={**decode.outputs, "logits": "scores"})
    else:
        (copy / "model.mlpackage/Data/com.apple.CoreML/model.mlmodel").write_bytes(b"no model")
    finalize(copy, replace(manifest, functions=functions))
    assert refusal(lambda: coreml.open_session(open_bundle(copy), 1)).code == "bundle.model"


def test_without_coremltools_the_remedy_is_named(
    portable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MissingPackageError, match=r"edgecap\[coreml\]"):
        coreml.open_session(open_bundle(portable), 1)


@pytest.mark.parametrize(
    ("format_", "backend", "platform", "chosen"),
    [
        ("coreml", "auto", "darwin", "mlprogram"),  # Core ML is asked for by name
        ("coreml", "auto", "linux", "mlprogram"),
        ("coreml", "auto", "win32", "mlprogram"),
        ("coreml", "mlprogram", "darwin", "mlprogram"),
        ("coreml", "coreml", "darwin", "coreml"),
        ("onnx", "auto", "darwin", "onnx"),
        ("tflite", "tflite", "linux", "tflite"),
    ],
)
def test_the_backend_follows_format_and_system(
    format_: str, backend: str, platform: str, chosen: str
) -> None:
    assert select(format_, backend, platform) == chosen


@pytest.mark.parametrize(
    ("format_", "backend", "kind", "code", "hint"),
    [
        ("coreml", "coreml", UnsupportedError, "backend.platform", "'mlprogram' or 'auto'"),
        ("coreml", "onnx", UnsupportedError, "backend.format", "'mlprogram' or 'auto'"),
        ("onnx", "coreml", UnsupportedError, "backend.format", "'onnx' or 'auto'"),
        ("foreign", "auto", UnsupportedError, "backend.format", ""),
        ("coreml", "core", InputError, "backend.unknown", "'coreml'"),
    ],
)
def test_a_backend_that_cannot_is_refused(
    format_: str, backend: str, kind: type[Exception], code: str, hint: str
) -> None:
    with pytest.raises(kind) as caught:
        select(format_, backend, "linux")
    assert caught.value.code == code
    assert hint in caught.value.hint


def test_the_evaluator_is_announced_once(
    portable: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where `auto` takes it; who asks for it by name knows."""
    bundle = open_bundle(portable)
    stand_in = SimpleNamespace(batch=1)
    monkeypatch.setattr(backends, "load_object", lambda place: lambda bundle, threads: stand_in)
    monkeypatch.setattr(backends, "sys", SimpleNamespace(platform="linux"))
    backends._warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        backends.open_functions(bundle, "mlprogram")
        assert caplog.messages == []
        for _ in range(2):
            backends.open_functions(bundle)
    (message,) = caplog.messages
    assert "macOS" in message and "mlprogram" in message and "\n" not in message
    with caplog.at_level(logging.WARNING):
        backends.open_functions(bundle, "mlprogram", threads=4)
    assert "threads is ignored" in caplog.messages[-1]


def test_inspect_shows_the_step_with_a_state(
    stateful: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(stateful)]) == 0
    shown = capsys.readouterr().out
    assert "-> k_image          float16 [1,1,1,196,8]" in shown  # by the contract
    assert "<> k_text           fp16 [1,1,1,96,8]  state" in shown  # by the file


def test_elsewhere_a_bundle_captions_and_says_once_who_computes(
    portable: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.png").write_bytes(image(0, 40, 30))
    images = [str(tmp_path / "p.png")] * 2
    command = [sys.executable, "-m", "edgecap", "caption", *images, "--json", "-"]
    done = subprocess.run(
        [*command, "--bundle", str(portable)], capture_output=True, text=True, check=True
    )
    assert len(json.loads(done.stdout)) == 2
    assert done.stderr.count("\n") == 1 and "mlprogram" in done.stderr
