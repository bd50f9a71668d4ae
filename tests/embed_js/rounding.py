"""Where engines begin to differ: the int8 layers of encode in LiteRT.js and in Python.

    python tests/embed_js/rounding.py BUNDLE IMAGE

The activations before and after every int8 layer of a TFLite bundle become outputs. They are
compared with those of XNNPACK on this machine: of LiteRT.js (XNNPACK in wasm), and of LiteRT's
built-in and reference kernels, which round their sums in another order.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests" / "support"))


def main() -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from built_page import build, served
    from js_edgecap import MODULES, node

    from edgecap.runtime import load
    from edgecap.runtime.preprocess import preprocess

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("image", metavar="IMAGE")
    arguments = parser.parse_args()
    manifest = load(arguments.bundle).manifest
    encode = manifest.functions["encode"]
    pixels, _ = preprocess(arguments.image, manifest.image)  # uint8 [h,w,3]
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        site = build(out / "site", [arguments.bundle])
        layers = expose(arguments.bundle / encode.file, encode.entry, site / "model.tflite")
        (site / "pixels.bin").write_bytes(pixels.tobytes())
        with served(site) as address:
            ran = node("rounding.mjs", str(MODULES), address, encode.entry, str(out))
        assert ran.returncode == 0, ran.stderr
        browser = {name: np.fromfile(out / f"{name}.bin", np.float32) for name, _ in layers}

        def run(kernels: OpResolverType) -> dict[str, np.ndarray]:
            model = str(site / "model.tflite")
            engine = Interpreter(model, num_threads=1, experimental_op_resolver_type=kernels)
            made: dict[str, np.ndarray] = engine.get_signature_runner(encode.entry)(
                image=pixels[None]
            )
            return made

        native = run(OpResolverType.AUTO)
        others = {
            "LiteRT.js": browser,
            "built-in": run(OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES),
            "reference": run(OpResolverType.BUILTIN_REF),
        }
    print("relative difference to XNNPACK on this machine, and the share of values that differ\n")
    print(f"{'':24}", *(f"{name:>22}" for name in others))
    for name, what in layers:
        wanted = native[name].ravel()
        row = [_apart(other[name].ravel(), wanted) for other in others.values()]
        print(f"{what:24}", *(f"{one:>22}" for one in row))


def expose(source: Path, entry: str, target: Path) -> list[tuple[str, str]]:
    """Write the model with its int8 layers' inputs and outputs among its own; (name, what) each."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model: Any = flatbuffer_utils.read_model(str(source))
    (signature,) = (one for one in model.signatureDefs if one.signatureKey.decode() == entry)
    graph = model.subgraphs[signature.subgraphIndex]
    kinds = {
        schema.BuiltinOperator.QUANTIZE: ("before", 0),
        schema.BuiltinOperator.DEQUANTIZE: ("after", 1),
    }
    constants = {i for i, t in enumerate(graph.tensors) if model.buffers[t.buffer].data is not None}
    layers: list[tuple[str, str]] = []
    tensors = list(graph.outputs)
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code not in kinds or operator.inputs[0] in constants:
            continue
        when, side = kinds[code]
        tensor = int((operator.inputs, operator.outputs)[side][0])
        name = f"tensor{tensor}"
        layers.append((name, f"layer {len(layers) // 2} {when}"))
        tensors.append(tensor)
        mapped = schema.TensorMapT()
        mapped.name, mapped.tensorIndex = name.encode(), tensor
        signature.outputs.append(mapped)
    graph.outputs = np.array(tensors, np.int32)
    flatbuffer_utils.write_model(model, str(target))
    return layers


def _apart(found: np.ndarray, wanted: np.ndarray) -> str:
    relative = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
    return f"{relative:.1e} ({100 * (found != wanted).mean():6.2f} %)"


if __name__ == "__main__":
    main()
