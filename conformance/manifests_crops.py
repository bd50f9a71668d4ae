"""The manifest of a captioner that reads images in crops, and what is refused of it."""

from __future__ import annotations

import copy
from typing import Any

# As in manifests2.py: a path into the manifest, and what is put there.
DELETE = "delete!"
_ODD = {
    "size": [45, 45],
    "fit": "longest_edge",
    "filter": "bicubic",
    "crops": {"side": 15, "split": True},
}
_CROP, _ENCODE = "interface.functions.0", "interface.functions.1"
CHANGES: list[tuple[str, Any]] = [
    ("interface.dims.n", 4),
    ("interface.dims.n", DELETE),
    ("interface.dims.F", DELETE),
    (f"{_CROP}.name", "encode_part"),
    (f"{_CROP}.inputs.image.shape", ["B", "w", "h", 3]),
    (f"{_CROP}.inputs.image.shape", ["B", "h", "w", 4]),
    (f"{_CROP}.inputs.image.shape", ["B", "h", "w"]),
    (f"{_CROP}.inputs.image.dtype", "float32"),
    (f"{_CROP}.inputs.more", {"dtype": "int32", "shape": ["B"]}),
    (f"{_CROP}.outputs.features", DELETE),
    (f"{_CROP}.outputs.features.shape", ["B", "F", 6]),
    (f"{_CROP}.outputs.features.shape", ["B", "n", "F", "D"]),
    (f"{_CROP}.outputs.features.dtype", "float16"),
    (f"{_CROP}.outputs.more", {"dtype": "int32", "shape": ["B"]}),
    (f"{_ENCODE}.inputs.features.shape", ["B", "F", "D"]),
    (f"{_ENCODE}.inputs.features.shape", ["B", 5, "F", "D"]),
    (f"{_ENCODE}.inputs.features.dtype", "int32"),
    (f"{_ENCODE}.inputs.grid", DELETE),
    (f"{_ENCODE}.inputs.grid.shape", ["B", 3]),
    (f"{_ENCODE}.inputs.grid.shape", ["B"]),
    (f"{_ENCODE}.inputs.grid.dtype", "float32"),
    (f"{_ENCODE}.inputs.image", {"dtype": "uint8", "shape": ["B", "h", "w", 3]}),
    (f"{_ENCODE}.outputs.image_length", DELETE),
    ("interface.state.3.name", "length"),
    ("interface.state.3.role", "rolling"),
    ("functions.encode_crop", DELETE),
    ("functions.encode_crop.inputs.image", DELETE),
    ("functions.encode_crop.file", "other.tflite"),
    ("image.size", [60, 60]),
    ("image.size", [20, 20]),
    ("image.size", [41, 41]),
    ("image.crops.side", 19),
    ("image.crops.side", 0),
    ("image.crops.split", False),
    ("image.crops.split", 1),
    ("image.crops", None),
    ("image.crops", {"side": 20}),
    ("image.fit", "stretch"),
    ("image", _ODD),
]


def in_crops(base: dict[str, Any]) -> dict[str, Any]:
    """The manifest: `base`, that of manifests2.py, with grids of up to 2 x 2 crops of 20 px."""
    made = copy.deepcopy(base)
    interface = made["interface"]
    interface["dims"] |= {"w": 20, "n": 5, "F": 3}
    encode, decode, *others = interface["functions"]
    length = {"dtype": "int32", "shape": ["B"]}
    features = {"dtype": "float32", "shape": ["B", "F", "D"]}
    crop = {
        "name": "encode_crop",
        "inputs": encode["inputs"],
        "outputs": {"features": features},
    }
    encode["inputs"] = {
        "features": {"dtype": "float32", "shape": ["B", "n", "F", "D"]},
        "grid": {"dtype": "int32", "shape": ["B", 2]},
    }
    encode["outputs"]["image_length"] = decode["inputs"]["image_length"] = length
    interface["functions"] = [crop, encode, decode, *others]
    entry = {"name": "image_length", "role": "image", "kind": "length", "layer": 0}
    interface["state"].append(entry | length)
    for one in (crop, encode, decode):
        made["functions"][one["name"]] = {
            "file": "model.tflite",
            "entry": one["name"],
            "inputs": {key: f"in_{key}" for key in one["inputs"]},
            "outputs": {key: f"out_{key}" for key in one["outputs"]},
        }
    made["image"] |= {
        "size": [40, 40],
        "fit": "longest_edge",
        "crops": {"side": 20, "split": True},
    }
    return made
