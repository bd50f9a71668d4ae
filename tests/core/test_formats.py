"""Names of formats and precisions."""

from __future__ import annotations

import pytest

from edgecap.core.errors import InputError
from edgecap.core.formats import (
    FORMATS,
    INT8,
    PRECISIONS,
    resolve_format,
    resolve_formats,
    resolve_precision,
)


@pytest.mark.parametrize(
    ("given", "name"),
    [("tflite", "tflite"), ("litert", "tflite"), ("Android", "tflite"), ("ONNX", "onnx")],
)
def test_formats_and_aliases(given: str, name: str) -> None:
    assert resolve_format(given).name == name


def test_unknown_format_lists_the_allowed_and_the_closest() -> None:
    with pytest.raises(InputError) as caught:
        resolve_format("tflit")
    assert caught.value.code == "format.unknown"
    assert "onnx, tflite" in caught.value.message
    assert "'tflite'" in caught.value.hint


def test_far_away_name_gets_no_guess() -> None:
    with pytest.raises(InputError) as caught:
        resolve_format("zzzz")
    assert caught.value.hint == ""


def test_every_format_knows_its_precisions() -> None:
    for known in FORMATS.values():
        assert known.precisions and set(known.precisions) <= set(PRECISIONS)


@pytest.mark.parametrize("name", PRECISIONS)
def test_precision_by_name(name: str) -> None:
    assert resolve_precision(name).name == name


def test_short_forms() -> None:
    assert resolve_precision(fp32=True).name == "fp32"
    assert resolve_precision(fp16=True).name == "fp16"
    assert resolve_precision("half").name == "fp16"


def test_no_request_is_fp32_with_a_reason() -> None:
    chosen = resolve_precision()
    assert chosen.name == "fp32"
    assert "no precision was requested" in chosen.reason


@pytest.mark.parametrize("chosen", [resolve_precision(int8=True), resolve_precision("INT8")])
def test_int8_says_what_it_takes(chosen) -> None:
    assert chosen.name == INT8
    assert "w8a8 where that is close enough to PyTorch, and w8 where not" in chosen.reason


def test_conflicting_requests_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        resolve_precision("fp32", fp16=True, int8=True)
    assert caught.value.code == "precision.conflict"
    for flag in ("--fp16", "--int8", "--precision fp32"):
        assert flag in caught.value.message


def test_agreeing_requests_are_one() -> None:
    assert resolve_precision("w8", int8=True).name == "w8"


def test_unknown_precision() -> None:
    with pytest.raises(InputError, match="unknown precision 'int4'; allowed: fp32, fp16, w8"):
        resolve_precision("int4")


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        ({}, "mixed"),
        ({"int8": True}, "mixed"),
        ({"precision": "INT8"}, "mixed"),
        ({"precision": "mixed", "int8": True}, "mixed"),
        ({"precision": "w8", "int8": True}, "w8"),  # which no search chooses: refused later
        ({"fp16": True, "int8": True}, "fp16"),
    ],
)
def test_a_search_leaves_int8_open(request_: dict, name: str) -> None:
    assert resolve_precision(**request_, searched=True).name == name


@pytest.mark.parametrize(
    ("names", "formats"),
    [
        ("all", ["onnx", "tflite", "coreml"]),
        ("ios, android,ios", ["coreml", "tflite"]),
        ("ONNX", ["onnx"]),
    ],
)
def test_lists_of_formats(names: str, formats: list[str]) -> None:
    assert resolve_formats(names) == formats


def test_all_stands_among_the_allowed_formats() -> None:
    with pytest.raises(InputError, match="mlpackage, ios, all"):
        resolve_formats("onnx,torchscript")
