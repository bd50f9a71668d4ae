"""Small CoreML packages for tests: from MIL, written out by hand, or from torch."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._decomp import get_decompositions

from edgecap.exporters.quiet import quiet
from edgecap.mil.program import Program

with quiet():
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import types

# Every conversion collects garbage, a second among the objects of torch and coremltools: they stay.
gc.collect()
gc.freeze()

TYPES = {
    np.dtype(np.float32): types.fp32,
    np.dtype(np.float16): types.fp16,
    np.dtype(np.int32): types.int32,
    np.dtype(np.bool_): types.bool,
    np.dtype(np.int8): types.int8,
    np.dtype(np.uint8): types.uint8,
}


def save_mil(
    path: Path, build: Callable[..., Any], *examples: np.ndarray, target: Any = ct.target.iOS18
) -> Path:
    """A package whose inputs are like `examples`; no pass of coremltools changes an operation.

    CoreML knows no bool and no 8-bit inputs: such examples go in as int32 and are cast.
    """
    direct = (np.float32, np.float16, np.int32)
    given = [a if a.dtype in direct else a.astype(np.int32) for a in examples]
    specs = [mb.TensorSpec(shape=a.shape, dtype=TYPES[a.dtype]) for a in given]
    names = "abcdefgh"[: len(examples)]

    def body(*inputs: Any) -> Any:
        cast = [
            x if e.dtype in direct else mb.cast(x=x, dtype=types.builtin_to_string(TYPES[e.dtype]))
            for x, e in zip(inputs, examples, strict=True)
        ]
        return build(*cast)

    arguments = ", ".join(names)
    function = eval(f"lambda {arguments}: body({arguments})", {"body": body})  # mb reads the names
    with quiet():
        program = mb.program(input_specs=specs, opset_version=target)(function)
        model = ct.convert(
            program,
            minimum_deployment_target=target,
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        )
        model.save(str(path))
    return path


def evaluate(
    build: Callable[..., Any], *arrays: np.ndarray, target: Any = ct.target.iOS18
) -> list[np.ndarray]:
    """What the evaluator makes of a program built by `build`, for these inputs."""
    with tempfile.TemporaryDirectory() as folder:
        package = save_mil(Path(folder) / "a.mlpackage", build, *arrays, target=target)
        function = Program.open(package).function()
        inputs = dict(zip(function.inputs, arrays, strict=True))
        expected = {"int8", "uint8", "bool"}
        inputs = {
            n: a.astype(np.int32) if str(a.dtype) in expected else a for n, a in inputs.items()
        }
        return list(function.run(inputs).values())


def inferred(build: Callable[..., Any], *arrays: np.ndarray) -> list[np.ndarray]:
    """What coremltools itself computes for these constants (its ops' value_inference)."""
    found: list[Any] = []

    def body(x: Any) -> Any:
        outputs = build(*(mb.const(val=array) for array in arrays))
        for output in outputs if isinstance(outputs, list | tuple) else [outputs]:
            found.append(np.asarray(output.val))
        return mb.identity(x=x)

    with quiet():
        specs = [mb.TensorSpec(shape=(1,))]
        mb.program(input_specs=specs, opset_version=ct.target.iOS18)(body)
    return found


def normal(*shape: int, seed: int = 0, half: bool = False) -> np.ndarray:
    """Standard normal numbers, the same for the same shape and seed."""
    values = np.random.default_rng((seed, *shape)).standard_normal(shape)
    return values.astype(np.float16 if half else np.float32)


def close(found: np.ndarray, expected: Any, units: float = 4) -> None:
    """Assert equal shapes and values, within `units` in the last place of found's type.

    The unit is that of the largest value wanted: sums err by the size of what is summed.
    """
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    if found.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
        return
    finite = np.abs(expected[np.isfinite(expected)], dtype=np.float64)
    unit = np.finfo(found.dtype).eps * max(float(finite.max(initial=0)), 1e-3)
    np.testing.assert_allclose(
        found.astype(np.float64), expected.astype(np.float64), rtol=0, atol=units * unit
    )


def convert(
    module: torch.nn.Module,
    examples: Sequence[torch.Tensor],
    half: bool = False,
    inputs: Any = None,
    states: Any = None,
    outputs: Sequence[str] = (),
    target: Any = ct.target.iOS18,
) -> Any:
    """An ML program (coremltools MLModel) of a torch module, through torch.export."""
    with quiet():
        # coremltools 9 does not see keyword arguments of torch.export's nodes: left whole, the tanh
        # form of gelu would be converted as the exact one.
        table = get_decompositions([torch.ops.aten.gelu.default])
        exported = torch.export.export(module.eval(), tuple(examples)).run_decompositions(table)
        return ct.convert(
            exported,
            inputs=inputs,
            outputs=[ct.TensorType(name) for name in outputs] or None,
            states=states,
            minimum_deployment_target=target,
            compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
            skip_model_load=True,
        )


def save(model: Any, path: Path) -> Path:
    """Write an MLModel as a package."""
    with quiet():
        model.save(str(path))
    return path
