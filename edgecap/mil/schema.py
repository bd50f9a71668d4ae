"""The parts of CoreML's protobuf messages that ML programs use, for edgecap.core.protobuf.

Field numbers: Model.proto, FeatureTypes.proto and MIL.proto of apple/coremltools
(mlmodel/format/), read from the generated descriptors of coremltools 9.0; a test compares every
line with the installed ones.
"""

from __future__ import annotations

from edgecap.core.protobuf import schema

TABLES: dict[str, dict[int, str]] = {
    # Model.proto
    "Model": {
        1: "int32 specificationVersion",
        2: "ModelDescription description",
        502: "Program mlProgram",
    },
    "ModelDescription": {
        1: "repeated FeatureDescription input",
        10: "repeated FeatureDescription output",
        13: "repeated FeatureDescription state",
        20: "repeated FunctionDescription functions",
        21: "string defaultFunctionName",
        100: "Metadata metadata",
    },
    "FunctionDescription": {
        1: "string name",
        2: "repeated FeatureDescription input",
        3: "repeated FeatureDescription output",
        6: "repeated FeatureDescription state",
    },
    "FeatureDescription": {1: "string name", 3: "FeatureType type"},
    "Metadata": {
        1: "string shortDescription",
        2: "string versionString",
        3: "string author",
        4: "string license",
        100: "map<string, string> userDefined",
    },
    # FeatureTypes.proto
    "FeatureType": {
        1: "Empty int64Type",
        2: "Empty doubleType",
        3: "Empty stringType",
        4: "ImageFeatureType imageType",
        5: "ArrayFeatureType multiArrayType",
        6: "Empty dictionaryType",
        7: "Empty sequenceType",
        8: "StateFeatureType stateType",
        1000: "bool isOptional",
    },
    "Empty": {},
    "ImageFeatureType": {
        1: "int64 width",
        2: "int64 height",
        3: "enum colorSpace",
        21: "Empty enumeratedSizes",
        31: "Empty imageSizeRange",
    },
    "ArrayFeatureType": {
        1: "repeated int64 shape",
        2: "enum dataType",
        21: "Empty enumeratedShapes",
        31: "Empty shapeRange",
    },
    "StateFeatureType": {1: "ArrayFeatureType arrayType"},
    # MIL.proto
    "Program": {1: "int64 version", 2: "map<string, Function> functions"},
    "Function": {
        1: "repeated NamedValueType inputs",
        2: "string opset",
        3: "map<string, Block> block_specializations",
    },
    "Block": {2: "repeated string outputs", 3: "repeated Operation operations"},
    "Operation": {
        1: "string type",
        2: "map<string, Argument> inputs",
        3: "repeated NamedValueType outputs",
        4: "repeated Block blocks",
        5: "map<string, Value> attributes",
    },
    "Argument": {1: "repeated Binding arguments"},
    "Binding": {1: "string name", 2: "Value value"},
    "NamedValueType": {1: "string name", 2: "ValueType type"},
    "ValueType": {
        1: "TensorType tensorType",
        2: "Empty listType",
        3: "Empty tupleType",
        4: "Empty dictionaryType",
        5: "StateType stateType",
    },
    "TensorType": {1: "enum dataType", 2: "int64 rank", 3: "repeated Dimension dimensions"},
    "StateType": {1: "ValueType wrappedType"},
    "Dimension": {1: "ConstantDimension constant", 2: "UnknownDimension unknown"},
    "ConstantDimension": {1: "uint64 size"},
    "UnknownDimension": {1: "bool variadic"},
    "Value": {2: "ValueType type", 3: "ImmediateValue immediateValue", 5: "BlobFile blobFileValue"},
    "ImmediateValue": {1: "TensorValue tensor"},
    "BlobFile": {1: "string fileName", 2: "uint64 offset"},
    "TensorValue": {
        1: "Floats floats",
        2: "Ints ints",
        3: "Bools bools",
        4: "Strings strings",
        5: "LongInts longInts",
        6: "Doubles doubles",
        7: "Bytes bytes",
    },
    "Floats": {1: "repeated float values"},
    "Ints": {1: "repeated int32 values"},
    "Bools": {1: "repeated bool values"},
    "Strings": {1: "repeated string values"},
    "LongInts": {1: "repeated int64 values"},
    "Doubles": {1: "repeated double values"},
    "Bytes": {1: "bytes values"},
}

MODEL = schema(TABLES)["Model"]

COLOURS = {10: "grayscale", 20: "rgb", 30: "bgr", 40: "grayscale_fp16"}  # ImageFeatureType
ARRAY_DTYPES = {65568: "fp32", 65600: "fp64", 131104: "int32", 131080: "int8", 65552: "fp16"}
