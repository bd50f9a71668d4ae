"""What tests of inspection share: a TFLite file, weights beside a graph, and a refusal."""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from edgecap.core.errors import BundleError, EdgecapError
from edgecap.inspection import read_contents

TFLITE = Path(__file__).with_name("tiny_w8.tflite")


def sharing(directory: Path) -> Path:
    """A graph of which two tensors lie in weights.bin, one of them under two names."""
    model = onnx.parser.parse_model(
        "<ir_version: 8, opset_import: ['' : 17]> m (float[4] x) => "
        "(float[4] y) { y = Sum(x, a, b) }".replace("'", '"')
    )
    parts = {
        "a": (0, np.float32, (2, 4)),
        "b": (0, np.float32, (2, 4)),
        "c": (64, np.float16, (5,)),
    }
    for name, (offset, dtype, shape) in parts.items():
        array = np.zeros(shape, dtype)
        tensor = onnx.numpy_helper.from_array(array, name)
        onnx.external_data_helper.set_external_data(
            tensor, "weights.bin", offset=offset, length=array.nbytes
        )
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        model.graph.initializer.append(tensor)
    (directory / "weights.bin").write_bytes(bytes(74))
    (directory / "m.onnx").write_bytes(model.SerializeToString())
    return directory / "m.onnx"


def refusal(path: Path) -> EdgecapError:
    with pytest.raises(BundleError) as caught:
        read_contents(path)
    assert "\n" not in str(caught.value)
    return caught.value
