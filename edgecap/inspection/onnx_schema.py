"""The parts of ONNX's protobuf messages that describe a model's structure, for core.protobuf.

Field numbers: onnx.proto of ONNX 1.23; a test compares every line with the installed package.
"""

from __future__ import annotations

from edgecap.core.protobuf import schema

TABLES: dict[str, dict[int, str]] = {
    "ModelProto": {
        1: "int64 ir_version",
        2: "string producer_name",
        3: "string producer_version",
        7: "GraphProto graph",
        8: "repeated OperatorSetIdProto opset_import",
        25: "repeated FunctionProto functions",
    },
    "OperatorSetIdProto": {1: "string domain", 2: "int64 version"},
    "GraphProto": {
        1: "repeated NodeProto node",
        2: "string name",
        5: "repeated TensorProto initializer",
        11: "repeated ValueInfoProto input",
        12: "repeated ValueInfoProto output",
        15: "repeated SparseTensorProto sparse_initializer",
    },
    "FunctionProto": {
        1: "string name",
        4: "repeated string input",
        5: "repeated string output",
        7: "repeated NodeProto node",
        10: "string domain",
    },
    "NodeProto": {
        4: "string op_type",
        5: "repeated AttributeProto attribute",
        7: "string domain",
    },
    "AttributeProto": {
        5: "TensorProto t",
        6: "GraphProto g",
        11: "repeated GraphProto graphs",
        22: "SparseTensorProto sparse_tensor",
    },
    "TensorProto": {
        1: "repeated int64 dims",
        2: "int32 data_type",
        4: "unread float float_data",
        5: "unread int32 int32_data",
        6: "repeated bytes string_data",
        7: "unread int64 int64_data",
        8: "string name",
        9: "bytes raw_data",
        10: "unread double double_data",
        11: "unread uint64 uint64_data",
        13: "repeated StringStringEntryProto external_data",
        14: "enum data_location",
    },
    "StringStringEntryProto": {1: "string key", 2: "string value"},
    "SparseTensorProto": {1: "TensorProto values", 2: "TensorProto indices"},
    "ValueInfoProto": {1: "string name", 2: "TypeProto type"},
    "TypeProto": {1: "TensorType tensor_type", 4: "Other sequence_type", 5: "Other map_type"},
    "TensorType": {1: "int32 elem_type", 2: "TensorShapeProto shape"},
    "Other": {},
    "TensorShapeProto": {1: "repeated Dimension dim"},
    "Dimension": {1: "int64 dim_value", 2: "string dim_param"},
}
MODEL = schema(TABLES)["ModelProto"]

EXTERNAL = 1  # of TensorProto.DataLocation

# TensorProto.DataType: number -> name and bits of an element; strings have no fixed size.
DTYPES: dict[int, tuple[str, int]] = {
    1: ("fp32", 32),
    2: ("uint8", 8),
    3: ("int8", 8),
    4: ("uint16", 16),
    5: ("int16", 16),
    6: ("int32", 32),
    7: ("int64", 64),
    8: ("string", 0),
    9: ("bool", 8),
    10: ("fp16", 16),
    11: ("fp64", 64),
    12: ("uint32", 32),
    13: ("uint64", 64),
    14: ("complex64", 64),
    15: ("complex128", 128),
    16: ("bf16", 16),
    17: ("fp8_e4m3fn", 8),
    18: ("fp8_e4m3fnuz", 8),
    19: ("fp8_e5m2", 8),
    20: ("fp8_e5m2fnuz", 8),
    21: ("uint4", 4),
    22: ("int4", 4),
    23: ("fp4_e2m1", 4),
    24: ("fp8_e8m0", 8),
    25: ("uint2", 2),
    26: ("int2", 2),
}
