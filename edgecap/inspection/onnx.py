"""Reading ONNX files and their external weight files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator
from pathlib import PurePosixPath

from edgecap.core.errors import BundleError
from edgecap.core.packed import AnyFile
from edgecap.core.protobuf import Record, WireError, decode, schema
from edgecap.inspection.contents import (
    Contents,
    FunctionInfo,
    Tally,
    Tensor,
    element_count,
    most_frequent_first,
)
from edgecap.inspection.mapped import file_size, map_file
from edgecap.inspection.onnx_schema import DTYPES, EXTERNAL, MODEL

OWN_DOMAINS = ("", "ai.onnx")
# IR version -> oldest onnxruntime that reads it, tested with releases up to 1.24.
RUNTIMES = {8: (1, 10), 9: (1, 15), 10: (1, 18), 11: (1, 23), 12: (1, 24), 13: (1, 24)}
_VERSION = schema({"ModelProto": {1: "int64 ir_version"}})["ModelProto"]  # other fields are skipped
TYPED_DATA = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def read(path: AnyFile) -> Contents:
    """Describe an .onnx file; raises BundleError as `read_contents`."""
    return _read(path)[0]


def weight_files(path: AnyFile) -> list[PurePosixPath]:
    """The external weight files, relative to the model's directory; errors as in `read`."""
    return sorted(_read(path)[1])


def ir_version(path: AnyFile) -> int:
    """The IR version of an .onnx file, without decoding the rest; errors as in `read`."""
    data = map_file(path)
    try:
        version: int = decode(data, _VERSION)["ir_version"]
    except ValueError as error:
        raise BundleError("bundle.model", f"{path} is not an ONNX model: {error}.") from None
    return version


def check_ir_version(path: AnyFile, runtime: str) -> None:
    """Raise BundleError (bundle.model) if onnxruntime of version `runtime` is too old for a file.

    IR versions that are newer than those of RUNTIMES are left to the engine.
    """
    version = ir_version(path)
    needs = RUNTIMES.get(version)
    found = tuple(int(part) for part in re.findall(r"[0-9]+", runtime)[:2])
    if needs is not None and found < needs:
        least = ".".join(map(str, needs))
        raise BundleError(
            "bundle.model",
            f"{path.name} has ONNX IR version {version}; onnxruntime {runtime} is too old for it.",
            f"Run: pip install 'onnxruntime>={least}', or export for an older one.",
        )


def _read(path: AnyFile) -> tuple[Contents, set[PurePosixPath]]:
    data = map_file(path)
    try:
        model = decode(data, MODEL)
        if model["graph"] is None:
            raise WireError("it has no graph")
        reader = _Model(path, model)
        return reader.contents(len(data)), set(reader.external)
    except ValueError as error:  # WireError, and impossible shapes
        raise BundleError("bundle.model", f"{path} is not an ONNX model: {error}.") from None


class _Model:
    def __init__(self, path: AnyFile, model: Record) -> None:
        self._path, self._model = path, model
        self._tally = Tally()
        self.external: dict[PurePosixPath, int] = {}  # weight file -> bytes

    def contents(self, size: int) -> Contents:
        model = self._model
        functions = [self._graph(model["graph"])]
        functions += [self._local(function) for function in model["functions"]]
        sets = [f"{s['domain'] or 'ai.onnx'} {s['version']}" for s in model["opset_import"]]
        return Contents(
            "onnx",
            f"IR {model['ir_version']}, opset {', '.join(sets) or 'unknown'}",
            f"{model['producer_name']} {model['producer_version']}".strip(),
            size + sum(self.external.values()),
            tuple(functions),
            self._tally.weights(),
        )

    def _graph(self, graph: Record) -> FunctionInfo:
        inside = {tensor["name"] for tensor in graph["initializer"]}  # until IR 3 inputs as well
        return FunctionInfo(
            graph["name"],
            tuple(_tensor(each) for each in graph["input"] if each["name"] not in inside),
            tuple(_tensor(each) for each in graph["output"]),
            (),
            most_frequent_first(Counter(self._walk_graph(graph))),
        )

    def _local(self, function: Record) -> FunctionInfo:
        """A model-local function; its tensors take the types of the calling node."""
        inputs, outputs = (
            tuple(Tensor(n, "any", ()) for n in function[s]) for s in ("input", "output")
        )
        ops = Counter(self._walk(function["node"]))
        name = _qualified(function["domain"], function["name"])
        return FunctionInfo(name, inputs, outputs, (), most_frequent_first(ops))

    def _walk_graph(self, graph: Record) -> Iterator[str]:
        for tensor in graph["initializer"]:
            self._add(tensor)
        for sparse in graph["sparse_initializer"]:
            self._add_sparse(sparse)
        yield from self._walk(graph["node"])

    def _walk(self, nodes: list[Record]) -> Iterator[str]:
        """The operations, including branches and loop bodies; adds constants to the tally."""
        for node in nodes:
            if node["op_type"] != "Constant":
                yield _qualified(node["domain"], node["op_type"])
            for attribute in node["attribute"]:
                if attribute["t"] is not None:
                    self._add(attribute["t"])
                if attribute["sparse_tensor"] is not None:
                    self._add_sparse(attribute["sparse_tensor"])
                for graph in filter(None, (attribute["g"], *attribute["graphs"])):
                    yield from self._walk_graph(graph)

    def _add_sparse(self, sparse: Record) -> None:
        for part in filter(None, (sparse["values"], sparse["indices"])):
            self._add(part, "sparse ")

    def _add(self, tensor: Record, prefix: str = "") -> None:
        kind, bits = DTYPES.get(tensor["data_type"], (f"type {tensor['data_type']}", 0))
        elements = element_count(tensor["dims"])
        size = -(-elements * bits // 8)
        key = None
        if tensor["data_location"] == EXTERNAL:
            key, size = self._external(tensor, size)
        elif "raw_data" in tensor:
            held = len(tensor["raw_data"])
            if bits and held != size:
                raise WireError(f"{tensor['name']!r} holds {held} bytes; its shape needs {size}")
            size = held
        elif kind == "string":
            size = sum(len(text) for text in tensor["string_data"])
        elif elements and not any(len(part) for name in TYPED_DATA for part in tensor[name]):
            raise WireError(f"{tensor['name']!r} holds no data")
        self._tally.add(prefix + kind, elements, size, key)

    def _external(self, tensor: Record, size: int) -> tuple[Hashable, int]:
        """(file, offset and length; bytes) of a tensor with external data."""
        entries = {entry["key"]: entry["value"] for entry in tensor["external_data"]}
        if len(entries) != len(tensor["external_data"]):  # engines differ in which one they use
            raise WireError(f"the external data of {tensor['name']!r} has a duplicate key")
        place = PurePosixPath(entries.get("location", ""))
        if not place.name or place.is_absolute() or ".." in place.parts or "\0" in str(place):
            raise BundleError(
                "bundle.path", f"{self._path} keeps weights outside its directory: {str(place)!r}."
            )
        file = self._path.parent / place
        if place not in self.external:
            held = file_size(file)
            if held is None:
                raise BundleError(
                    "bundle.missing_file", f"{self._path} needs the weights file {file}."
                )
            self.external[place] = held
        offset, length = _number(entries, "offset", 0), _number(entries, "length", size)
        if offset + length > self.external[place]:
            raise BundleError(
                "bundle.truncated",
                f"{file} has {self.external[place]} bytes; {tensor['name']!r} of {self._path.name} "
                f"ends at {offset + length}.",
            )
        return (place, offset, length), length


def _number(entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key, str(default))
    if not re.fullmatch(r"[0-9]{1,20}", text):
        raise WireError(f"external data has the {key} {text[:20]!r}")
    return int(text)


def _tensor(value: Record) -> Tensor:
    tensor = value["type"]["tensor_type"] if value["type"] is not None else None
    if tensor is None:
        kinds = value["type"] or {}
        return Tensor(value["name"], next((k.removesuffix("_type") for k in kinds), "unknown"), ())
    dtype, _ = DTYPES.get(tensor["elem_type"], (f"type {tensor['elem_type']}", 0))
    if tensor["shape"] is None:
        return Tensor(value["name"], dtype, (), "of any shape")
    sizes = tensor["shape"]["dim"]
    shape = tuple(s.get("dim_value", s["dim_param"] or None) for s in sizes)
    return Tensor(value["name"], dtype, shape)


def _qualified(domain: str, name: str) -> str:
    return name if domain in OWN_DOMAINS else f"{domain}.{name}"
