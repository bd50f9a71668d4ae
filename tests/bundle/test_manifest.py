"""Strict reading of manifests, and of the JSON and the names in them."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import bundle_refusal

from edgecap.bundle.files import MANIFEST, check_name
from edgecap.bundle.io import open_bundle
from edgecap.bundle.schema1 import check_manifest
from edgecap.bundle.schemas import manifest_from_json
from edgecap.core.errors import BundleError
from edgecap.core.typed import MAX_JSON_BYTES, parse


def edit(bundle: Path, change: Callable[[dict], None]) -> None:
    """Change the manifest without sealing it again."""
    manifest = json.loads((bundle / MANIFEST).read_bytes())
    change(manifest)
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def _set(*keys: str, value: object) -> Callable[[dict], None]:
    def change(manifest: dict) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = value

    return change


ENTRY = {"sha256": "0" * 64, "size": 3}
MANIFEST_DAMAGE = [
    (_set("schema", value=3), "bundle.schema"),
    (_set("schema", value="1"), "bundle.schema"),
    (_set("surprise", value=1), "bundle.unknown_field"),
    (_set("contract", "surprise", value=1), "bundle.unknown_field"),
    (lambda m: m.pop("languages"), "bundle.missing_field"),
    (_set("weights", value="S"), "bundle.manifest"),
    (_set("weights", value=3), "bundle.field_type"),
    (_set("languages", value="en"), "bundle.field_type"),
    (_set("languages", value=[1]), "bundle.field_type"),
    (_set("languages", value=[]), "bundle.manifest"),
    (_set("contract", "layers", value=True), "bundle.field_type"),
    (_set("contract", "layers", value=1.5), "bundle.field_type"),
    (_set("contract", "layers", value=-1), "bundle.manifest"),
    (_set("contract", "patches", value=195), "bundle.manifest"),
    (_set("contract", "layers", value=1 << 40), "bundle.oversized"),
    (_set("contract", "cache", value="object"), "bundle.manifest"),
    (_set("contract", "batch", value=3), "bundle.manifest"),
    (lambda m: m["contract"]["functions"].pop("decode"), "bundle.manifest"),
    (lambda m: m["contract"]["functions"]["decode"]["inputs"].pop("k"), "bundle.manifest"),
    (_set("contract", "functions", "decode", "file", value="other.onnx"), "bundle.missing_file"),
    (_set("contract", "functions", "decode", "file", value="golden"), "bundle.missing_file"),
    (_set("contract", "functions", "decode", "file", value="a.mlpackage"), "bundle.missing_file"),
    (
        _set("contract", "functions", "decode", "file", value="../x.mlpackage"),
        "bundle.missing_file",
    ),
    (_set("preprocessing", "resample", value="nearest"), "bundle.manifest"),
    (_set("preprocessing", "size", value=10**9), "bundle.manifest"),
    (_set("coordinates", "order", value="xywh"), "bundle.manifest"),
    (_set("tokenizer", "sha256", value="0" * 64), "bundle.manifest"),
    (_set("tokenizer", "file", value="nowhere.json"), "bundle.missing_file"),
    (_set("files", "../../etc/passwd", value=ENTRY), "bundle.path"),
    (_set("files", "/etc/passwd", value=ENTRY), "bundle.path"),
    (_set("files", "C:\\x", value=ENTRY), "bundle.path"),
    (_set("files", ".hidden", value=ENTRY), "bundle.path"),
    (_set("files", "1/2/3/4/5/file", value=ENTRY), "bundle.path"),
    (_set("files", MANIFEST, value=ENTRY), "bundle.path"),
    (_set("files", "DECODE.onnx", value=ENTRY), "bundle.manifest"),
    (_set("files", "decode.onnx", "sha256", value="zz"), "bundle.manifest"),
    (_set("files", "ghost.bin", value=ENTRY), "bundle.missing_file"),
]


@pytest.mark.parametrize(("change", "code"), MANIFEST_DAMAGE)
def test_a_wrong_manifest_of_schema_1_is_refused_by_name(
    schema1_bundle: Path, change: Callable[[dict], None], code: str
) -> None:
    edit(schema1_bundle, change)
    assert bundle_refusal(schema1_bundle).code == code


def test_an_older_manifest_that_tells_no_weights_is_read(schema1_bundle: Path) -> None:
    edit(schema1_bundle, lambda manifest: manifest.pop("weights"))
    assert open_bundle(schema1_bundle).manifest.weights is None


def test_own_fields_need_a_prefix(tiny_bundle: Path) -> None:
    edit(tiny_bundle, _set("x_team", value={"any": "thing"}))
    assert open_bundle(tiny_bundle).manifest.name == "tiny-onnx-fp32"


MANY_KEYS = ("{" + ",".join(f'"{i:x}":0' for i in (*range(300_000), 299_999)) + "}").encode()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"a": 1, "a": 2}', "bundle.duplicate_key"),
        (MANY_KEYS, "bundle.duplicate_key"),  # in one pass, not in an hour
        (b'{"a": NaN}', "bundle.json"),
        (b"[" * 100_000, "bundle.json"),
        (b"\xff\xfe", "bundle.json"),
        (b"9" * 5000, "bundle.json"),
        (b" " * (MAX_JSON_BYTES + 1), "bundle.oversized"),
    ],
)
def test_json_is_strict(data: bytes, code: str) -> None:
    with pytest.raises(BundleError) as caught:
        parse(data, "x.json")
    assert caught.value.code == code


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.booleans(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
@settings(max_examples=150)
def test_no_json_value_gets_through_or_crashes(value: object) -> None:
    with pytest.raises(BundleError):
        manifest_from_json({"schema": 1, "name": value})


@given(st.text(max_size=20))
def test_a_name_that_is_accepted_stays_inside(name: str) -> None:
    try:
        check_name(name)
    except BundleError:
        return
    root = Path("/bundle")
    assert (root / name).resolve().is_relative_to(root)


def test_a_manifest_of_schema_1_survives_the_way_through_json(schema1_bundle: Path) -> None:
    manifest = open_bundle(schema1_bundle).manifest
    assert manifest_from_json(json.loads(json.dumps(asdict(manifest)))) == manifest
    with pytest.raises(BundleError):
        check_manifest(replace(manifest, styles=()))
