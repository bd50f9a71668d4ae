"""The plan's file: what was written comes back, and everything else is refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgecap.core.errors import InputError
from edgecap.quant.plan import (
    Layer,
    Plan,
    check_layers,
    check_weights,
    fingerprint,
    read_plan,
    write_plan,
)
from edgecap.reference.quant import ReferenceSubject, default_kind, simulate


@pytest.fixture
def file(tiny: Any, tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    write_plan(tiny.plan, path)
    return path


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_plan(path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return caught.value


def test_a_plan_comes_back_as_it_was(tiny: Any, file: Path, tmp_path: Path) -> None:
    plan = read_plan(file)
    assert plan == tiny.plan
    write_plan(plan, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("plan.schema", lambda p: p.update(schema=2)),
        ("plan.unknown_field", lambda p: p.update(surprise=1)),
        ("plan.missing_field", lambda p: p.pop("smoothing")),
        ("plan.field_type", lambda p: p.update(model=7)),
        ("plan.invalid", lambda p: p["layers"]["blocks.0.qkv"].update(kind="int4")),
        ("plan.invalid", lambda p: p["layers"]["blocks.0.qkv"].update(kind="w8")),
        ("plan.invalid", lambda p: p["layers"]["blocks.0.qkv"].update(functions={})),
        (
            "plan.invalid",
            lambda p: p["layers"]["blocks.0.qkv"].update(
                functions={"draw": p["layers"]["blocks.0.qkv"]["functions"]["encode_image"]}
            ),
        ),
        (
            "plan.invalid",
            lambda p: p["layers"]["blocks.0.qkv"]["functions"]["encode_image"]["input"].update(
                scale=0
            ),
        ),
        (
            "plan.invalid",
            lambda p: p["layers"]["blocks.0.qkv"]["functions"]["encode_image"]["output"].update(
                zero_point=128
            ),
        ),
        ("plan.invalid", lambda p: p["smoothing"].update({"blocks.0.qkv": [0.0] * 64})),
    ],
)
def test_a_plan_that_is_none_is_refused(file: Path, code: str, change: Any) -> None:
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))
    assert refused(file).code == code


def test_plans_that_say_w8f_are_read(tiny: Any, file: Path) -> None:
    """As they were written: without exceptions, too, which were the reference's."""
    value = json.loads(file.read_text().replace('"w8_dequant"', '"w8f"'))
    assert value["layers"]["patch"]["kind"] == "w8f" and value.pop("exceptions")
    file.write_text(json.dumps(value))
    expected = {p: dict(kinds) for p, kinds in tiny.plan.exceptions.items()}
    for name in [n for n in expected["w8"] if n.endswith("attention_out")]:
        del expected["w8"][name]  # has been one since
    assert read_plan(file) == replace(tiny.plan, exceptions=expected)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"schema": 1, "schema": 1}', b"\xff"])
def test_files_of_other_kinds_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(data)
    assert refused(path).code.startswith("plan.")
    assert refused(tmp_path / "none.json").code == "plan.missing"
    assert refused(tmp_path).code == "plan.missing"


def test_a_plan_serves_the_weights_it_was_made_for(tiny: Any, tmp_path: Path) -> None:
    weights = tmp_path / "a.safetensors"
    weights.write_bytes(b"weights")
    check_weights(replace(tiny.plan, weights=fingerprint(weights)), "a", fingerprint(weights))
    with pytest.raises(InputError, match="made for other weights") as caught:
        check_weights(tiny.plan, "a", fingerprint(weights))
    assert caught.value.code == "plan.weights"


def test_a_plan_names_every_layer_and_no_other(tiny: Any) -> None:
    widths = {name: 64 for name in tiny.plan.layers}
    widths |= {n: 256 for n in widths if n.endswith("mlp_out")} | {"patch": 768}
    check_layers(tiny.plan, widths)
    for wrong, said in (
        (widths | {"blocks.9.qkv": 64}, "lacks blocks.9.qkv"),
        ({n: w for n, w in widths.items() if n != "patch"}, "names patch"),
        (widths | {"blocks.0.qkv": 32}, "smoothing does not fit the layer blocks.0.qkv"),
    ):
        with pytest.raises(InputError, match=said):
            check_layers(tiny.plan, wrong)


@pytest.mark.parametrize("name", ["patch", "token", "blocks.0.mlp_out"])
def test_a_plan_that_smooths_what_cannot_be_is_refused(tiny: Any, name: str) -> None:
    width = ReferenceSubject(tiny.model).widths()[name]
    plan = replace(tiny.plan, smoothing={name: (1.0,) * width})
    with pytest.raises(InputError, match=f"smoothing does not fit the layer {name}") as caught:
        simulate(tiny.model, plan)
    assert caught.value.code == "plan.layers"


def test_the_precision_is_that_of_the_layers(tiny: Any) -> None:
    def with_kinds(**kinds: str) -> Plan:
        layers = tiny.plan.layers | {name: Layer(kind, {}) for name, kind in kinds.items()}
        return replace(tiny.plan, layers=layers)

    assert tiny.plan.precision == "w8a8"
    assert with_kinds(**{"blocks.0.qkv": "w8"}).precision == "mixed"
    assert with_kinds(token="fp32").precision == "mixed"
    narrow = {name: default_kind(name, "w8") for name in tiny.plan.layers}
    assert with_kinds(**narrow).precision == "w8"
