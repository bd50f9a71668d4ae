"""Core ML packages of a few kilobytes, made by coremltools from MIL: no torch, no training.

The packages keep the contract's names and shapes for tiny_onnx.CONFIG and compute next to nothing;
their weights are stored in one way each, so that they can be told apart. tiny_mlpackages.zip holds
what these functions wrote with coremltools 9.0: reading them back takes no converter.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tiny_onnx import CONFIG

from edgecap.bundle.interface import DECODE_STATEFUL
from edgecap.bundle.io import finalize
from edgecap.bundle.schema1 import FUNCTIONS, identity_names
from edgecap.reference.manifest import build_manifest
from edgecap.reference.shipped import write_tokenizer

ROWS = (1, 1, 1, 196, 8)  # [L,B,H,P,Dh]
CACHE = (1, 1, 1, 292, 8)  # [L,B,H,Tmax,Dh]
ROW = (1, 1, 1, 1, 8)
TEXT_ROWS = (1, 1, 1, 96, 8)
V, T, E, P = 4096, 96, 4, 196
ARCHIVE = Path(__file__).with_name("tiny_mlpackages.zip")


def unpack(name: str, directory: Path) -> Path:
    """Put one of the ready packages, portable, stateful or ios16, into a directory."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        members = [m for m in archive.namelist() if m.startswith(f"{name}.mlpackage/")]
        archive.extractall(directory, members)
    return directory / f"{name}.mlpackage"


def write_bundle(path: Path, package: str, cache: str = "float32") -> Path:
    """A sealed bundle around one of the ready packages, portable or stateful."""
    path.mkdir()
    unpack(package, path).rename(path / "model.mlpackage")
    write_tokenizer(path)
    names = [*FUNCTIONS, DECODE_STATEFUL] if package == "stateful" else [*FUNCTIONS]
    manifest = build_manifest(
        CONFIG,
        name=path.name,
        model="tiny",
        format="coreml",
        precision="fp16",
        functions={name: identity_names("model.mlpackage", name) for name in names},
        cache=cache,
        batch=1,
    )
    finalize(path, manifest)
    return path


@contextmanager
def quiet() -> Iterator[None]:
    """coremltools tells at import what it was not tested with, and shows bars while it converts."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            logging.disable(logging.NOTSET)


def write_package(path: Path, stateful: bool = False) -> None:
    """encode_image, decode and encode_text in one package; decode_stateful too if `stateful`."""
    with quiet():
        import coremltools as ct

        descriptor = ct.utils.MultiFunctionDescriptor()
        parts = {"encode_image": _encode_image, "decode": _decode, "encode_text": _encode_text}
        if stateful:
            parts["decode_stateful"] = _decode_stateful
        for name, build in parts.items():
            inputs = None
            if name == "encode_image":
                rgb = ct.colorlayout.RGB
                inputs = [ct.ImageType("image", (1, 3, 224, 224), color_layout=rgb)]
            part = path.with_name(f"{name}.mlpackage")
            save(build(), part, inputs)
            descriptor.add_function(str(part), "main", name)
        descriptor.default_function_name = "decode"
        ct.utils.save_multifunction(descriptor, str(path))


def write_ios16(path: Path) -> None:
    """One function whose weights are compressed as iOS 16 does, in attributes of operations."""
    with quiet():
        import coremltools as ct
        from coremltools.converters.mil.mil import Builder as mb

        rng = np.random.default_rng(0)

        @mb.program(input_specs=[mb.TensorSpec(shape=(1, 64))], opset_version=ct.target.iOS16)
        def program(x):  # type: ignore[no-untyped-def]
            palettised = mb.constexpr_lut_to_dense(
                indices=rng.integers(0, 256, 64 * 64 * 6 // 8).astype(np.uint8),
                lut=rng.standard_normal(64).astype(np.float32),
                shape=np.array([64, 64], np.uint32),
            )
            sparse = mb.constexpr_sparse_to_dense(
                nonzero_data=np.ones(2048, np.float32),
                mask=np.full(512, 0x55, np.uint8),
                shape=np.array([64, 64], np.uint32),
            )
            affine = mb.constexpr_affine_dequantize(
                quantized_data=rng.integers(-128, 128, (64, 64)).astype(np.int8),
                zero_point=np.int8(0),
                scale=np.float32(0.1),
                axis=0,
            )
            for weight in (palettised, sparse, affine):
                x = mb.linear(x=x, weight=weight)
            return x

        save(program, path, target="iOS16")


def save(program: Any, path: Path, inputs: Any = None, target: str = "iOS18") -> None:
    """Convert a MIL program, in float32, and save it."""
    import coremltools as ct

    ct.convert(
        program,
        inputs=inputs,
        minimum_deployment_target=ct.target[target],
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    ).save(str(path))


def _program(*specs: Any) -> Any:
    import coremltools as ct
    from coremltools.converters.mil.mil import Builder

    return Builder.program(input_specs=list(specs), opset_version=ct.target.iOS18)


def _encode_image() -> Any:
    from coremltools.converters.mil.mil import Builder as mb

    @_program(mb.TensorSpec(shape=(1, 3, 224, 224)))
    def program(image):  # type: ignore[no-untyped-def]
        mean = mb.reduce_mean(x=image, axes=[1, 2, 3], keep_dims=True)
        one = mb.reshape(x=mean, shape=[1, 1, 1, 1, 1])
        k = mb.add(x=one, y=np.zeros(ROWS, np.float32), name="k")
        v = mb.mul(x=one, y=np.ones(ROWS, np.float32), name="v")
        weight = mb.constexpr_blockwise_shift_scale(
            data=np.ones((E, 1), np.int8), scale=np.full((E, 1), 0.5, np.float32)
        )
        flat = mb.reshape(x=mean, shape=[1, 1])
        return k, v, mb.linear(x=flat, weight=weight, name="image_embedding")

    return program


def _logits(mb: Any, token: Any) -> Any:
    """A float16 table, read where the token says, and a palettised one, four bits an entry."""
    from coremltools.converters.mil.mil import types

    wide = np.linspace(-1, 1, V * 4).astype(np.float16).reshape(V, 4)
    column = mb.cast(x=mb.gather(x=wide, indices=token, axis=0), dtype="fp32")  # [1,1,4]
    indices = (np.arange(V * 4).reshape(V, 4) % 16).astype(types.np_uint4_dtype)
    table = mb.constexpr_lut_to_dense(
        indices=indices, lut=np.arange(16, dtype=np.float32).reshape(1, 1, 16, 1)
    )
    return mb.linear(x=mb.reshape(x=column, shape=[1, 4]), weight=table, name="logits")


def _decode() -> Any:
    from coremltools.converters.mil.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    @_program(
        mb.TensorSpec(shape=(1, 1), dtype=types.int32),
        mb.TensorSpec(shape=(1,), dtype=types.int32),
        mb.TensorSpec(shape=CACHE),
        mb.TensorSpec(shape=CACHE),
    )
    def program(token, position, k, v):  # type: ignore[no-untyped-def]
        k_new = mb.slice_by_size(x=k, begin=[0] * 5, size=list(ROW), name="k_new")
        v_new = mb.slice_by_size(x=v, begin=[0] * 5, size=list(ROW), name="v_new")
        spot = mb.cast(x=position, dtype="fp32")
        attention = mb.mul(x=spot, y=np.ones((1, P), np.float32), name="attention")
        return _logits(mb, token), k_new, v_new, attention

    return program


def _decode_stateful() -> Any:
    from coremltools.converters.mil.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    @_program(
        mb.TensorSpec(shape=(1, 1), dtype=types.int32),
        mb.TensorSpec(shape=(1,), dtype=types.int32),
        mb.TensorSpec(shape=ROWS),
        mb.TensorSpec(shape=ROWS),
        mb.StateTensorSpec(shape=TEXT_ROWS, dtype=types.fp16),
        mb.StateTensorSpec(shape=TEXT_ROWS, dtype=types.fp16),
    )
    def program(token, position, k_image, v_image, k_text, v_text):  # type: ignore[no-untyped-def]
        spot = mb.cast(x=position, dtype="fp32")
        for state, rows in ((k_text, k_image), (v_text, v_image)):
            half = mb.cast(x=rows, dtype="fp16")
            row = mb.slice_by_size(x=half, begin=[0] * 5, size=[1, 1, 1, 1, 8])
            text = mb.add(x=mb.read_state(input=state), y=row)
            mb.coreml_update_state(state=state, value=text)
            total = mb.reduce_sum(x=mb.cast(x=text, dtype="fp32"), axes=[0, 1, 2, 3, 4])
            spot = mb.add(x=spot, y=total)
        attention = mb.mul(x=spot, y=np.ones((1, P), np.float32), name="attention")
        return _logits(mb, token), attention

    return program


def _encode_text() -> Any:
    from coremltools.converters.mil.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    @_program(
        mb.TensorSpec(shape=(1, T), dtype=types.int32),
        mb.TensorSpec(shape=(1,), dtype=types.int32),
    )
    def program(tokens, length):  # type: ignore[no-untyped-def]
        from coremltools.converters.mil.mil import types

        mean = mb.reduce_mean(x=mb.cast(x=tokens, dtype="fp32"), axes=[1], keep_dims=True)
        both = mb.add(x=mean, y=mb.cast(x=length, dtype="fp32"))
        int4 = np.arange(-8, 8).reshape(E, 4).astype(types.np_int4_dtype)
        weight = mb.constexpr_blockwise_shift_scale(
            data=int4, scale=np.full((E, 1), 0.25, np.float32)
        )
        wide = mb.mul(x=both, y=np.ones((1, 4), np.float32))
        return mb.linear(x=wide, weight=weight, name="text_embedding")

    return program
