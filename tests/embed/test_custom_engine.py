"""An app's own engine: a CoreML bundle in C, run by edgecap's evaluator of CoreML programs.

That is what the Swift package does with Core ML itself in place of the evaluator.
"""

import ctypes
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_edgecap import Library, Refused
from tiny_formats import write

from edgecap.bundle.packing import pack
from edgecap.mil.program import Program
from edgecap.runtime import load


class Tensor(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.c_int64 * 8),
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
    ]


class ModelFile(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]


_TENSORS = ctypes.POINTER(Tensor)
_REASON = ctypes.POINTER(ctypes.c_char)
LOAD = ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p,
    _TENSORS, ctypes.c_size_t, _TENSORS, ctypes.c_size_t, _REASON,
)  # fmt: skip
RUN = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p,
    _TENSORS, ctypes.c_size_t, _TENSORS, ctypes.c_size_t, _REASON,
)  # fmt: skip
LOAD_FILES = ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ModelFile), ctypes.c_size_t,
    ctypes.c_char_p, _TENSORS, ctypes.c_size_t, _TENSORS, ctypes.c_size_t, _REASON,
)  # fmt: skip
RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
TYPES = {"fp32": (1, np.float32), "int32": (2, np.int32), "uint8": (3, np.uint8)}


class Table(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("format", ctypes.c_char_p),
        ("user", ctypes.c_void_p),
        ("load", LOAD),
        ("run", RUN),
        ("release", RELEASE),
        ("load_files", LOAD_FILES),
    ]


class Evaluator:
    """edgecap_engine over Program; keep it as long as the captioner."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: where models of packed bundles are written; by default they are refused."""
        self._folder = folder
        self.functions: dict[int, Any] = {}
        self.released: list[int] = []
        self.fails = False
        self.table = Table(
            b"evaluator", b"coreml", None, LOAD(self._load), RUN(self._run), RELEASE(self._release),
            LOAD_FILES(self._load_files) if folder else LOAD_FILES(),
        )  # fmt: skip
        self.address = ctypes.addressof(self.table)

    def _load(self, _: Any, path: bytes, entry: bytes, *rest: Any) -> int:
        inputs, input_count, outputs, output_count, reason = rest
        program = Program.open(Path(path.decode()))
        if entry.decode() not in program.functions:
            ctypes.memmove(reason, b"no such function\0", 17)
            return 0
        function = program.function(entry.decode())
        for n in range(input_count):
            named = function.inputs[inputs[n].name.decode()]
            shape = named.type.shape
            if named.name == "image":  # bytes by row, as an image feature takes them
                _tell(inputs[n], "uint8", (1, *shape[2:], 3))
            else:
                _tell(inputs[n], named.type.dtype, shape)
        for n in range(output_count):
            kind = function.outputs[outputs[n].name.decode()]
            _tell(outputs[n], kind.dtype, kind.shape)
        handle = len(self.functions) + 1
        self.functions[handle] = function
        return handle

    def _load_files(self, _: Any, model: bytes, files: Any, count: int, *rest: Any) -> int:
        assert self._folder is not None
        for file in files[:count]:
            if file.name.startswith(model + b"/"):
                assert file.data % 64 == 0
                path = self._folder / file.name.decode()
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(ctypes.string_at(file.data, file.size))
        return self._load(None, str(self._folder / model.decode()).encode(), *rest)

    def _run(self, _: Any, handle: int, *rest: Any) -> int:
        inputs, input_count, outputs, output_count, reason = rest
        if self.fails:
            ctypes.memmove(reason, b"the device is hot\0", 18)
            return 0
        given = {inputs[n].name.decode(): _array(inputs[n]) for n in range(input_count)}
        made = self.functions[handle].run(given)
        for n in range(output_count):
            _array(outputs[n])[...] = made[outputs[n].name.decode()]
        return 1

    def _release(self, _: Any, handle: int) -> None:
        self.released.append(handle)


def _tell(tensor: Any, dtype: str, shape: tuple[int, ...]) -> None:
    tensor.type, tensor.rank = TYPES[dtype][0], len(shape)
    tensor.shape[: len(shape)] = shape


def _array(tensor: Any) -> np.ndarray:
    """The tensor's own memory."""
    dtype = next(dtype for number, dtype in TYPES.values() if number == tensor.type)
    buffer = (ctypes.c_uint8 * tensor.bytes).from_address(tensor.data)
    return np.frombuffer(buffer, dtype).reshape(tensor.shape[: tensor.rank])


IMAGES = np.random.default_rng(1).integers(0, 256, (3, 60, 81, 3), np.uint8)


def test_captions_are_those_of_python(library: Library, tmp_path: Path) -> None:
    bundle, evaluator = write("coreml", tmp_path), Evaluator()
    captioner, python = library.open(bundle, custom=evaluator.address), load(bundle)
    assert (captioner.info.engine, captioner.info.format) == (b"evaluator", b"coreml")
    for image, beams in zip(IMAGES, (1, 1, 3), strict=True):
        (expected,) = python.caption(image, beams=beams, max_length=12)
        said = captioner.describe(image, beams=beams, most_tokens=12)
        assert (said.tokens, said.raw) == (expected.tokens, expected.raw)
    np.testing.assert_array_equal(captioner.embed_text(b"a dog"), python.embed_texts("a dog")[0])
    evaluator.fails = True
    with pytest.raises(Refused) as refused:
        captioner.describe(IMAGES[0])
    assert refused.value.code == "engine.failed" and "the device is hot" in str(refused.value)
    evaluator.fails = False
    assert captioner.describe(IMAGES[0], most_tokens=1)
    captioner.close()
    assert sorted(evaluator.released) == sorted(evaluator.functions) == [1, 2, 3]


def test_a_packed_bundle(library: Library, tmp_path: Path) -> None:
    bundle = write("coreml", tmp_path)
    packed, evaluator = pack(bundle, tmp_path / "one.edgecap"), Evaluator(tmp_path / "unpacked")
    captioner = library.open(packed, custom=evaluator.address)
    (expected,) = load(bundle).caption(IMAGES[0], max_length=6)
    assert captioner.describe(IMAGES[0], most_tokens=6).raw == expected.raw
    captioner.close()
    with pytest.raises(Refused) as refused:
        library.open(packed, custom=Evaluator().address)
    assert refused.value.code == "bundle.model" and "packed" in str(refused.value)


def test_what_the_engine_refuses(
    library: Library, tmp_path: Path, bundles: dict[str, Path]
) -> None:
    bundle, evaluator = write("coreml", tmp_path), Evaluator()
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["functions"]["decode"]["entry"] = "nothing"
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Refused) as refused:
        library.open(bundle, custom=evaluator.address)
    assert refused.value.code == "bundle.model" and "no such function" in str(refused.value)
    assert evaluator.released == [1]
    with pytest.raises(Refused) as refused:  # other formats go to other engines
        library.open(bundles["onnx"], custom=evaluator.address, library="none.so")
    assert refused.value.code == "engine.missing"
