"""A bundle of a few kilobytes that keeps the whole contract: random weights, one attention layer.

Its captions mean nothing, but every output depends on what it should depend on: the image, each
earlier token and its place. Written as ONNX text, so that no torch is needed to make it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecap.bundle.certificate import OutputParity, certificate_to_json, certify
from edgecap.bundle.files import CERTIFICATE
from edgecap.bundle.golden import ARRAYS, Tolerance, write_golden
from edgecap.bundle.interface import DECODE_ATTENTION
from edgecap.bundle.io import finalize
from edgecap.bundle.manifest import Manifest
from edgecap.bundle.schema1 import identity_names
from edgecap.core.formats import FORMATS
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.manifest import build_manifest
from edgecap.reference.shipped import write_tokenizer

if TYPE_CHECKING:
    from onnx import ModelProto

CONFIG = CaptionerConfig(width=8, layers=1, heads=1, embedding=4)
HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'

ENCODE_IMAGE = """
encode_image (uint8[B,224,224,3] image)
    => (float[1,B,1,196,8] k, float[1,B,1,196,8] v, float[B,4] image_embedding) {
  pixels = Cast<to: int = 1>(image)
  scaled = Div(pixels, full)
  channels = Transpose<perm: ints = [0, 3, 1, 2]>(scaled)
  pooled = AveragePool<kernel_shape: ints = [16, 16], strides: ints = [16, 16]>(channels)
  flat = Reshape(pooled, patches)
  mixed = Transpose<perm: ints = [0, 2, 1]>(flat)
  x = Add(mixed, place)
  keys = MatMul(x, wk)
  values = MatMul(x, wv)
  k = Unsqueeze(keys, layer_head)
  v = Unsqueeze(values, layer_head)
  mean = ReduceMean<axes: ints = [1], keepdims: int = 0>(values)
  free = MatMul(mean, we)
  norm = ReduceL2<axes: ints = [1], keepdims: int = 1>(free)
  image_embedding = Div(free, norm)
}"""
DECODE = """
decode (int32[B,1] token, int32[B] position, float[1,B,1,292,8] k, float[1,B,1,292,8] v)
    => (float[B,4096] logits, float[1,B,1,1,8] k_new, float[1,B,1,1,8] v_new,
        float[B,196] attention)
{
  one = Squeeze(token, axis1)
  word = Gather(table, one)
  where = Gather(place, position)
  x = Add(word, where)
  keys = Squeeze(k, layer_head)
  values = Squeeze(v, layer_head)
  query = Unsqueeze(x, axis2)
  column = MatMul(keys, query)
  scores = Squeeze(column, axis2)
  first = Add(position, P)
  limit = Unsqueeze(first, axis1)
  unseen = GreaterOrEqual(rows, limit)
  mask = Cast<to: int = 1>(unseen)
  bias = Mul(mask, low)
  masked = Add(scores, bias)
  weights = Softmax<axis: int = -1>(masked)
  row = Unsqueeze(weights, axis1)
  summed = MatMul(row, values)
  seen = Squeeze(summed, axis1)
  hidden = Add(x, seen)
  logits = MatMul(hidden, head)
  key = MatMul(x, wk)
  value = MatMul(x, wv)
  k_new = Unsqueeze(key, around)
  v_new = Unsqueeze(value, around)
  attention = Slice(weights, zero, P_long, axis1)
}"""
# The same step with its one head of its one layer on axes of their own.
BY_HEAD = (
    DECODE.replace("decode (", "decode_attention (")
    .replace("float[B,196] attention", "float[B,1,1,196] attention")
    .replace("attention = Slice(weights,", "cut = Slice(weights,")
    .replace("\n}", "\n  attention = Unsqueeze(cut, axes12)\n}")
)
ENCODE_TEXT = """
encode_text (int32[B,96] tokens, int32[B] length) => (float[B,4] text_embedding) {
  words = Gather(table, tokens)
  limit = Unsqueeze(length, axis1)
  counted = Less(places, limit)
  mask = Cast<to: int = 1>(counted)
  column = Unsqueeze(mask, axis2)
  kept = Mul(words, column)
  mean = ReduceSum<keepdims: int = 0>(kept, axis1)
  free = MatMul(mean, we)
  norm = ReduceL2<axes: ints = [1], keepdims: int = 1>(free)
  text_embedding = Div(free, norm)
}"""


def constants(seed: int) -> dict[str, np.ndarray]:
    """Weights and index constants of the three graphs, by name."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    return {
        "full": np.array(255, np.float32),
        "patches": np.array([0, 3, -1], np.int64),
        "layer_head": np.array([0, 2], np.int64),
        "around": np.array([0, 2, 3], np.int64),
        "axis1": np.array([1], np.int64),
        "axis2": np.array([2], np.int64),
        "axes12": np.array([1, 2], np.int64),
        "zero": np.array([0], np.int64),
        "P": np.array([196], np.int32),
        "P_long": np.array([196], np.int64),
        "rows": np.arange(292, dtype=np.int32)[None],
        "places": np.arange(96, dtype=np.int32)[None],
        "low": np.array(-1e4, np.float32),
        "table": normal(4096, 8),
        "head": normal(8, 4096),
        "we": normal(8, 4),
    }


def write_bundle(
    directory: Path,
    seed: int = 0,
    verified: bool = True,
    attention: bool = False,
    precision: str = "fp32",
) -> Manifest:
    """Make the bundle in an empty directory.

    With golden files and certificate when `verified`, with decode_attention when `attention`; in
    "w8" with the exporter's dynamic layers.
    """
    import onnx.checker
    import onnx.numpy_helper
    import onnx.parser

    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed + 1)
    weights = constants(seed)
    wk, wv = (rng.standard_normal((3, 8)).astype(np.float32) * 4 for _ in range(2))
    image_place = rng.standard_normal((1, 196, 3)).astype(np.float32) / 4
    wkt, wvt = (rng.standard_normal((8, 8)).astype(np.float32) for _ in range(2))
    own = {
        "encode_image": {"wk": wk, "wv": wv, "place": image_place},
        "decode": {"wk": wkt, "wv": wvt, "place": rng.standard_normal((96, 8)).astype(np.float32)},
        "encode_text": {},
    }
    texts = {"encode_image": ENCODE_IMAGE, "decode": DECODE, "encode_text": ENCODE_TEXT}
    if attention:
        texts[DECODE_ATTENTION], own[DECODE_ATTENTION] = BY_HEAD, own["decode"]
    for name, text in texts.items():
        model = onnx.parser.parse_model(HEADER + text)
        used = {tensor for node in model.graph.node for tensor in node.input}
        for key, value in {**weights, **own[name]}.items():
            if key in used:
                model.graph.initializer.append(onnx.numpy_helper.from_array(value, key))
        if precision == "w8":
            _round(model)
        onnx.checker.check_model(model)
        (directory / f"{name}.onnx").write_bytes(model.SerializeToString())
    write_tokenizer(directory)
    manifest = build_manifest(
        CONFIG,
        name=f"tiny-onnx-{precision}",
        model="tiny",
        format="onnx",
        precision=precision,
        functions={name: identity_names(f"{name}.onnx", name) for name in texts},
        batch=1 if precision in FORMATS["onnx"].dynamic else None,
        tools={"numpy": np.__version__},
    )
    sealed = finalize(directory, manifest)
    return _verify(directory, manifest) if verified else sealed


def keep_beside(graph: Path, location: str, data: Path) -> None:
    """Move a graph's largest constant into the file `data`, to be found at `location`."""
    import onnx.external_data_helper

    model = onnx.load(str(graph))
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    data.write_bytes(largest.raw_data)
    onnx.external_data_helper.set_external_data(largest, location, offset=0)
    largest.external_data.sort(key=lambda entry: entry.key, reverse=True)  # offset before location
    largest.ClearField("raw_data")
    graph.write_bytes(model.SerializeToString())


def image(seed: int, width: int, height: int) -> bytes:
    """A PNG of coloured noise."""
    import io

    from PIL import Image

    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def images(folder: Path, count: int) -> Path:
    """The folder, made, with so many images of 40 x 30 px: 0.png, 1.png, …"""
    folder.mkdir()
    for i in range(count):
        (folder / f"{i}.png").write_bytes(image(i, 40, 30))
    return folder


def _round(model: ModelProto) -> None:
    """Linear layers as w8 has them; the tables, which are tiny, stay float."""
    from onnx import TensorProto, helper, numpy_helper

    from edgecap.quant.rounding import rows

    graph = model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    nodes, made = [], set()
    for node in graph.node:
        weight = constants.get(node.input[1]) if node.op_type == "MatMul" else None
        if weight is None or weight.ndim != 2:
            nodes.append(node)
            continue
        (x, name), (out,) = node.input, node.output
        if name not in made:
            quantised, scales = rows(weight.T)  # [N,K], [N]
            graph.initializer.append(
                numpy_helper.from_array(np.ascontiguousarray(quantised.T), f"{name}.int8")
            )
            graph.initializer.append(numpy_helper.from_array(scales, f"{name}.scale"))
        if x not in made:
            rounded = [f"{x}.q", f"{x}.scale", f"{x}.zero"]
            nodes.append(helper.make_node("DynamicQuantizeLinear", [x], rounded))
        made |= {x, name}
        product = [f"{x}.q", f"{name}.int8", f"{x}.zero"]
        nodes += [
            helper.make_node("MatMulInteger", product, [f"{out}.int"]),
            helper.make_node("Cast", [f"{out}.int"], [f"{out}.float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{x}.scale", f"{name}.scale"], [f"{out}.scale"]),
            helper.make_node("Mul", [f"{out}.float", f"{out}.scale"], [out]),
        ]
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    used = {name for node in kept for name in node.input}
    left = [t for t in graph.initializer if t.name in used]
    left = [type(t).FromString(t.SerializeToString()) for t in left]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(left)


def _verify(directory: Path, manifest: Manifest) -> Manifest:
    from edgecap.models.loading import load
    from edgecap.runtime.replay import record

    images = {"image_00.png": image(0, 30, 20), "image_01.png": image(1, 12, 40)}
    tolerances = {name: Tolerance(1e-4, 0.9999) for name in ARRAYS}
    asked = [("en", "grounded"), ("ja", "plain")]
    golden = record(load(directory), images, asked, ["a dog", "一只猫。"], tolerances, 1.0)
    write_golden(directory, golden)
    outputs = (OutputParity("logits", 1e-5, 1.0, 1e-4, 0.9999, "scene 3"),)
    certificate = certify("itself", "onnx fp32", 2, ("en",), outputs, ())
    (directory / CERTIFICATE).write_bytes(certificate_to_json(certificate))
    return finalize(directory, manifest)
