"""CoreML packages: what a Mac or a phone will read in them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from contract_examples import CLOSE, examples, expected

from edgecap.bundle.interface import DECODE_ATTENTION
from edgecap.exporters.contract import functions
from edgecap.exporters.coreml import convert as to_coreml
from edgecap.exporters.coreml.options import CoremlOptions
from edgecap.exporters.parity.tolerances import SAME_LOGITS
from edgecap.exporters.quiet import quiet
from edgecap.exporters.spec import ExportSpec
from edgecap.mil.package import open_package
from edgecap.mil.program import Program
from edgecap.quant.rounding import rows
from edgecap.reference.model import weights

FUNCTIONS = ("encode_image", "decode", "encode_text")
SPECS = {
    "fp32": ExportSpec(format="coreml", precision="fp32"),
    "fp16": ExportSpec(format="coreml", precision="fp16", options=CoremlOptions(stateful=True)),
    "w8": ExportSpec(format="coreml", precision="w8", attention=True),
    "old": ExportSpec(format="coreml", precision="w8", options=CoremlOptions("iOS16")),
}
WIDTH_BYTES = {"fp32": 4, "fp16": 2, "w8": 1}


Made: TypeAlias = Callable[[str], tuple[Path, Any]]
# The newest and the oldest form; the others are converted in make check-full.
FULL = [pytest.param(name, marks=pytest.mark.full) for name in ("fp32", "w8")]


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Directory and functions of an export of SPECS, made once."""
    model = weights.load(tiny)

    @cache
    def get(name: str) -> tuple[Path, Any]:
        directory = tmp_path_factory.mktemp(name)
        with quiet():
            return directory, to_coreml.export(model, SPECS[name], directory)

    return get


def spec_of(package: Path) -> Any:
    """Model.proto of a package, by Apple's own reader."""
    with quiet():
        import coremltools

        return coremltools.models.MLModel(str(package), skip_model_load=True).get_spec()


def described(package: Path) -> dict[str, Any]:
    return {function.name: function for function in spec_of(package).description.functions}


def shape(feature: Any) -> tuple[int, ...]:
    return tuple(feature.type.multiArrayType.shape)


@pytest.mark.parametrize("name", ["fp16", *FULL])
def test_a_package_holds_the_contract(made: Made, name: str) -> None:
    directory, functions = made(name)
    assert [path.name for path in directory.iterdir()] == ["model.mlpackage"]
    found = described(directory / "model.mlpackage")
    assert set(found) == set(functions) >= set(FUNCTIONS)
    for function, where in functions.items():
        assert where.file == "model.mlpackage"
        assert where.entry == function
        assert {f.name for f in found[function].input} == set(where.inputs.values())
        assert {f.name for f in found[function].output} == set(where.outputs.values())
    image = found["encode_image"].input[0].type.imageType
    assert (image.width, image.height) == (224, 224)
    assert image.ColorSpace.Name(image.colorSpace) == "RGB"


@pytest.mark.parametrize("name", ["fp16", *FULL])
def test_the_cache_goes_in_as_it_came_out_and_scores_are_float32(made: Made, name: str) -> None:
    kind = "FLOAT32" if name == "fp32" else "FLOAT16"
    step = described(made(name)[0] / "model.mlpackage")["decode"]
    for feature in (*step.input, *step.output):
        array = feature.type.multiArrayType
        got = array.ArrayDataType.Name(array.dataType)
        if feature.name in ("k", "v", "k_new", "v_new"):
            assert got == kind
        elif feature.name in ("logits", "attention"):
            assert got == "FLOAT32"


def test_a_state_holds_the_text_rows(made: Made) -> None:
    step = described(made("fp16")[0] / "model.mlpackage")["decode_stateful"]
    states = {f.name: tuple(f.type.stateType.arrayType.shape) for f in step.state}
    assert states == {"k_text": (2, 1, 2, 96, 32), "v_text": (2, 1, 2, 96, 32)}
    inputs = {f.name: shape(f) for f in step.input}
    assert inputs["k_image"] == inputs["v_image"] == (2, 1, 2, 196, 32)


def test_no_tensor_has_more_axes_than_core_ml_takes(made: Made) -> None:
    spec = spec_of(made("fp16")[0] / "model.mlpackage")
    assert spec.specificationVersion == 9  # iOS 18
    ranks = [
        output.type.tensorType.rank
        for function in spec.mlProgram.functions.values()
        for block in function.block_specializations.values()
        for operation in block.operations
        for output in operation.outputs
    ]
    assert len(ranks) > 100
    assert max(ranks) == 5


@pytest.mark.parametrize("name", ["fp16", *FULL])
def test_weights_are_stored_once(tiny: Path, made: Made, name: str) -> None:
    stored = made(name)[0] / "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin"
    model = weights.load(tiny)
    matrices = sum(p.numel() for p in model.parameters() if p.ndim == 2)
    expected = matrices * WIDTH_BYTES[name]
    if name == "fp16":
        expected += model.token.weight.numel() * 2  # the token table stays float32
    # A second token table would be 262,144 bytes at the least.
    assert expected <= stored.stat().st_size <= expected + 100_000


def test_int8_rows_are_rounded_as_in_every_format(tiny: Path, made: Made) -> None:
    package = open_package(made("old")[0] / "decode.mlpackage")
    operations = package.functions["main"].block.operations
    packed = [op.attributes for op in operations if op.type == "constexpr_affine_dequantize"]
    table = max(packed, key=lambda attributes: attributes["quantized_data"].type.shape)
    wanted, scale = rows(weights.load(tiny).token.weight.detach().numpy())  # [V,D], [V]
    got = np.asarray(package.array(table["quantized_data"]), np.int64)
    assert np.abs(got - wanted).max() <= 1
    assert np.allclose(package.array(table["scale"]), scale, rtol=2e-3)
    assert len(packed) == 1 + 4 * 2  # the token table once, and four matrices a layer


def test_an_older_target_gets_a_package_for_each_function(
    made: Made,
) -> None:
    directory, functions = made("old")
    for name in FUNCTIONS:
        assert (functions[name].file, functions[name].entry) == (f"{name}.mlpackage", "main")
        spec = spec_of(directory / f"{name}.mlpackage")
        assert spec.specificationVersion == 7  # iOS 16
        assert {f.name for f in spec.description.input} == set(functions[name].inputs)


@pytest.mark.parametrize("name", ["fp16", "old", *FULL])
def test_the_evaluator_gives_what_torch_gives(tiny: Path, made: Made, name: str) -> None:
    directory, where = made(name)
    for function in functions(weights.load(tiny), SPECS[name].attention):
        feeds = examples(function, 1)
        wanted = expected(function, feeds)
        if function.name == "encode_image":
            feeds["image"] = feeds["image"].transpose(0, 3, 1, 2).astype(np.float32)
        place = where[function.name]
        got = Program.open(directory / place.file).function(place.entry).run(feeds)
        for output, value in wanted.items():
            assert got[output].shape == value.shape
            error = np.abs(got[output].astype(np.float32) - value).max()
            assert error <= CLOSE[SPECS[name].precision] * max(1, np.abs(value).max()), output


@pytest.mark.full
def test_the_step_of_every_head_says_what_the_plain_one_says(tiny: Path, made: Made) -> None:
    program = Program.open(made("w8")[0] / "model.mlpackage")
    (decode,) = (f for f in functions(weights.load(tiny)) if f.name == "decode")
    feeds = examples(decode, 1)
    plain, by_head = (program.function(name).run(feeds) for name in ("decode", DECODE_ATTENTION))
    assert np.abs(by_head["logits"] - plain["logits"]).max() <= SAME_LOGITS.max_abs
    assert by_head["attention"].shape == (1, 2, 2, 196)  # [B,L,H,P]
    assert np.abs(by_head["attention"].mean((1, 2)) - plain["attention"]).max() < 1e-3


def test_the_stateful_step_says_what_the_portable_one_says(tiny: Path, made: Made) -> None:
    program = Program.open(made("fp16")[0] / "model.mlpackage")
    plain, stateful = program.function("decode"), program.function("decode_stateful")
    rng = np.random.default_rng(3)
    k = np.zeros((2, 1, 2, 292, 32), np.float16)  # [L,B,H,C,K]
    v = k.copy()
    k[:, :, :, :196], v[:, :, :, :196] = rng.standard_normal((2, 2, 1, 2, 196, 32))
    image = {"k_image": k[:, :, :, :196].copy(), "v_image": v[:, :, :, :196].copy()}
    state = stateful.make_state()
    for position, token in enumerate((5, 90, 17, 4, 63)):
        step = {"token": np.int32([[token]]), "position": np.int32([position])}
        want = plain.run(step | {"k": k, "v": v})
        got = stateful.run(step | image, state)
        row = 196 + position
        k[:, :, :, row], v[:, :, :, row] = want["k_new"][:, :, :, 0], want["v_new"][:, :, :, 0]
        error = np.abs(got["logits"] - want["logits"]).max()
        assert error < 0.05
        assert np.abs(got["attention"] - want["attention"]).max() < 1e-3
        kept, new = state.read("k_text")[:, :, :, position], want["k_new"][:, :, :, 0]
        assert np.allclose(kept, new, atol=5e-3)
    again = stateful.run(step | image, stateful.make_state())
    assert np.abs(again["logits"] - want["logits"]).max() > 2 * error  # the text before it counted


def test_gelu_keeps_its_tanh_form(made: Made) -> None:
    """coremltools 9 takes the exact form where the keyword is left to it."""
    package = open_package(made("fp16")[0] / "model.mlpackage")
    for function in package.functions.values():
        operations = function.block.operations
        constants = {op.place: op.attributes["val"] for op in operations if op.type == "const"}
        gelus = [op for op in operations if op.type == "gelu"]
        assert len(gelus) == 2  # one a layer
        modes = {str(package.array(constants[str(op.inputs["mode"][0])])) for op in gelus}
        assert modes == {"TANH_APPROXIMATION"}
