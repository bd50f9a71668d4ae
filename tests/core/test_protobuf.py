"""The protobuf reader against protobuf itself, and against bytes that are no message."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecap.core.protobuf import MAX_DEPTH, MAX_MESSAGES, Record, WireError, decode, schema

KINDS = ("int32", "int64", "uint32", "uint64", "bool", "float", "double", "string", "bytes")
SCHEMA = schema(
    {
        "Node": {
            **{i: f"{kind} one_{kind}" for i, kind in enumerate(KINDS, 1)},
            **{i: f"repeated {kind} some_{kind}" for i, kind in enumerate(KINDS, 21)},
            41: "Node child",
            42: "repeated Node children",
            43: "map<string, Node> named",
            44: "map<int64, string> numbered",
        }
    }
)
NODE = SCHEMA["Node"]


def protobuf_class(packed: bool) -> Any:
    """The same message, made by protobuf; repeated numbers packed into one field or not."""
    kinds = {"message": 11, "string": 9, "bytes": 12, "int32": 5, "int64": 3, "uint32": 13}
    kinds |= {"uint64": 4, "bool": 8, "float": 2, "double": 1}
    file = descriptor_pb2.FileDescriptorProto(name=f"packed_{packed}.proto", syntax="proto3")
    file.package = f"p{packed:d}"
    node = file.message_type.add(name="Node")
    for start, label, prefix in ((1, 1, "one"), (21, 3, "some")):
        for number, kind in enumerate(KINDS, start):
            made = node.field.add(name=f"{prefix}_{kind}", number=number, label=label)
            made.type = kinds[kind]
            if label == 3 and kind not in ("string", "bytes"):
                made.options.packed = packed
    own = f".{file.package}.Node"
    node.field.add(name="child", number=41, label=1, type=11, type_name=own)
    node.field.add(name="children", number=42, label=3, type=11, type_name=own)
    for number, name, key in ((43, "named", "string"), (44, "numbered", "int64")):
        entry = node.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=1, type=kinds[key])
        value = entry.field.add(name="value", number=2, label=1, type=11 if number == 43 else 9)
        if number == 43:
            value.type_name = own
        node.field.add(
            name=name, number=number, label=3, type=11, type_name=f"{own}.{name.title()}Entry"
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.Node"))


CLASSES = {packed: protobuf_class(packed) for packed in (True, False)}

SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "bool": st.booleans(),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "string": st.text(max_size=5),
    "bytes": st.binary(max_size=5),
}
LEAVES = st.fixed_dictionaries(
    {},
    optional={
        **{f"one_{kind}": SCALARS[kind] for kind in KINDS},
        **{f"some_{kind}": st.lists(SCALARS[kind], min_size=1, max_size=3) for kind in KINDS},
        "numbered": st.dictionaries(SCALARS["int64"], st.text(max_size=3), min_size=1, max_size=2),
    },
)
NODES = st.recursive(
    LEAVES,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "child": inner,
            "children": st.lists(inner, min_size=1, max_size=2),
            "named": st.dictionaries(st.text(max_size=3), inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=6,
)


def message(kind: Any, values: dict[str, Any]) -> Any:
    """A protobuf message with these values."""
    made = kind()
    for name, value in values.items():
        if name == "child":
            made.child.CopyFrom(message(kind, value))
        elif name == "children":
            made.children.extend(message(kind, each) for each in value)
        elif name == "named":
            for key, each in value.items():
                made.named[key].CopyFrom(message(kind, each))
        elif name == "numbered":
            made.numbered.update(value)
        elif isinstance(value, list):
            getattr(made, name).extend(value)
        else:
            setattr(made, name, value)
    return made


def same(record: Record, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name == "child":
            same(record[name], value)
        elif name == "children":
            for found, each in zip(record[name], value, strict=True):
                same(found, each)
        elif name == "named":
            assert record[name].keys() == value.keys()
            for key, each in value.items():
                same(record[name][key], each)
        else:
            assert record[name] == value
    assert record.keys() <= values.keys()


@given(NODES, st.booleans())
@settings(deadline=None)
def test_it_reads_what_protobuf_writes(values: dict[str, Any], packed: bool) -> None:
    same(decode(message(CLASSES[packed], values).SerializeToString(), NODE), values)


@given(NODES, NODES)
@settings(deadline=None)
def test_concatenated_messages_merge(first: dict[str, Any], second: dict[str, Any]) -> None:
    kind = CLASSES[True]
    parts = [message(kind, values).SerializeToString() for values in (first, second)]
    merged = kind()
    merged.MergeFromString(b"".join(parts))
    once, twice = decode(merged.SerializeToString(), NODE), decode(b"".join(parts), NODE)
    assert once == twice


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_a_record_or_one_clear_error(data: bytes) -> None:
    try:
        decode(data, NODE)
    except WireError as error:
        assert str(error)


@given(NODES, st.data())
@settings(deadline=None)
def test_cut_or_changed_messages_are_a_record_or_one_clear_error(
    values: dict[str, Any], data: st.DataObject
) -> None:
    whole = bytearray(message(CLASSES[True], values).SerializeToString() or b"\x08\x01")
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    for each in (bytes(whole), bytes(whole[:at])):
        try:
            decode(each, NODE)
        except WireError as error:
            assert str(error)


def test_absent_fields_read_as_defaults() -> None:
    record = decode(b"", NODE)
    assert (record["one_int32"], record["one_string"], record["child"]) == (0, "", None)
    assert (record["some_float"], record["named"], "child" in record) == ([], {}, False)
    record["some_float"].append(1.0)
    assert record["some_float"] == []


def test_unknown_fields_are_skipped() -> None:
    narrow = schema({"Node": {1: "int32 one_int32"}})["Node"]
    whole = message(CLASSES[True], {"one_int32": 7, "one_float": 1.5, "one_string": "x"})
    whole.child.one_int64 = 3
    assert decode(whole.SerializeToString(), narrow) == {"one_int32": 7}


def test_bytes_are_not_copied() -> None:
    data = bytearray(message(CLASSES[True], {"one_bytes": b"abc"}).SerializeToString())
    view = decode(memoryview(data), NODE)["one_bytes"]
    data[-1] = ord("d")
    assert bytes(view) == b"abd"


def nested(depth: int) -> bytes:
    made = CLASSES[True]()
    inner = made
    for _ in range(depth):
        inner = inner.child
    inner.one_int32 = 1
    return made.SerializeToString()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x08", "ends within a number"),
        (b"\x08" + b"\xff" * 10, "more than ten bytes"),
        (b"\x00\x00", "field number 0"),
        (b"\x0b", "wire type 3 of field 1"),
        (b"\x0a\x01\x00", "one_int32 at byte 2 is not a int32"),
        (b"\x42\x05ab", "field 8 at byte 2 ends 3 bytes after the end"),
        (b"\x42\x01\xff", "not UTF-8"),
        (b"\x30\x01", "one_float before byte 2 has wire type 0"),
        (b"\xd2\x01\x03abc", "3 bytes are not a whole number of floats"),
        (nested(MAX_DEPTH + 1), "nest deeper"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, complaint: str) -> None:
    with pytest.raises(WireError, match=complaint):
        decode(data, NODE)


def test_the_deepest_allowed_message_is_read() -> None:
    assert decode(nested(MAX_DEPTH), NODE)["child"] is not None


def test_a_table_with_a_slip_is_refused() -> None:
    with pytest.raises(ValueError, match="not a field"):
        schema({"Node": {1: "repeated"}})


def test_more_messages_than_memory_holds_are_refused() -> None:
    few = message(CLASSES[True], {}).SerializeToString() + b"\xd2\x02\x00" * 1000
    assert len(decode(few, NODE)["children"]) == 1000
    with pytest.raises(WireError, match=f"more than {MAX_MESSAGES:,} messages"):
        decode(b"\xd2\x02\x00" * MAX_MESSAGES, NODE)


@pytest.mark.parametrize("packed", [True, False])
def test_what_is_not_read_is_known_to_be_there(packed: bool) -> None:
    table = {26: "unread float some_float", 21: "unread int32 some_int32"}
    narrow = schema({"Node": table})["Node"]
    data = message(CLASSES[packed], {"some_float": [1.5, 2.5]}).SerializeToString()
    record = decode(data, narrow)
    assert b"".join(record["some_float"]) == struct.pack("<2f", 1.5, 2.5)
    assert record["some_int32"] == []
