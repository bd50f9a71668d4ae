"""Checkpoints of Hugging Face captioners to bundles of schema 2, and these at work.

Tiny random weights in the layout of transformers; edgecap's words against transformers' own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image
from tiny_bundles import shared_bundle
from tiny_checkpoints import make_whole
from tiny_onnx import images
from torch import Tensor, nn

from edgecap.bundle.certificate import certificate_from_json
from edgecap.bundle.io import open_bundle
from edgecap.cli.app import main
from edgecap.core.errors import BundleError, GateError, InputError, UnsupportedError
from edgecap.exporters import checkpoint_model, job
from edgecap.exporters.compare_functions import compare_functions
from edgecap.exporters.job import export, prepare
from edgecap.exporters.spec import ExportRequest
from edgecap.exporters.tflite import graph as tflite_graph
from edgecap.models import checkpoint, registry
from edgecap.models.adapter import Limits
from edgecap.quant.plan import read_plan
from edgecap.quant.samples import CalibrationSpec
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.expected import replay_expected
from edgecap.runtime.image_processing import process
from edgecap.runtime.loading import load
from edgecap.runtime.sampling import Sampling

Make = Callable[..., Path]
COUNT = 3  # images that a gate looks at


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A checkpoint with everything that a hub's copy has."""
    made: dict[tuple[str, str], Path] = {}

    def get(family: str, variant: str) -> Path:
        if (family, variant) not in made:
            folder = tmp_path_factory.mktemp(f"{family}-{variant}")
            made[family, variant] = make_whole(family, variant, folder)
        return made[family, variant]

    return get


@pytest.fixture(scope="module")
def bundle(whole: Callable[[str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Make:
    """An exported bundle, once per test run; nobody may change it."""

    @cache
    def get(family: str, variant: str, format_: str = "onnx", precision: str = "fp32") -> Path:
        if precision == "fp32":
            return shared_bundle(tmp_path_factory, family, variant, format_)
        model, output = str(whole(family, variant)), tmp_path_factory.mktemp("bundles") / "bundle"
        calibration = CalibrationSpec()
        if precision == "w8a8":
            calibration = CalibrationSpec(own_images(tmp_path_factory), 16)
        export(
            ExportRequest(
                model, (format_,), precision, output, scenes=COUNT, calibration=calibration
            )
        )
        return output

    return get


def own_images(factory: pytest.TempPathFactory) -> Path:
    """A user's directory of images."""
    folder = factory.getbasetemp() / "own"
    return folder if folder.is_dir() else images(folder, 20)


def passed(path: Path) -> bool:
    """Whether a bundle says that its gate found nothing."""
    return not certificate_from_json(open_bundle(path).json("parity.json")).failures


def photo(side: tuple[int, int] = (70, 50)) -> Image.Image:
    noise = np.random.default_rng(5).integers(0, 256, (7, 9, 3), np.uint8)
    return Image.fromarray(noise).resize(side)


def opened(path: Path) -> Captioner:
    captioner = load(path)
    assert isinstance(captioner, Captioner)
    return captioner


# Other families than what most tests here export. The first is shared with other files' tests; the
# words of all are compared, without a bundle, in tests/models.
OTHERS = [
    ("kosmos-2", "tiny"),
    pytest.param("git", "tiny", marks=pytest.mark.full),
    pytest.param("vision-encoder-decoder", "gpt2", marks=pytest.mark.full),
]
# The quick ones share a bundle with other tests, or are one for each format.
QUICK = {("onnx", "fp32"), ("onnx", "w8a8"), ("tflite", "w8"), ("coreml", "fp16")}
FORMATS = [
    pytest.param(*case, marks=() if case in QUICK else pytest.mark.full)
    for case in product(("onnx", "tflite", "coreml"), ("fp32", "fp16", "w8", "w8a8"))
]


@pytest.mark.parametrize(("family", "variant"), OTHERS)
def test_words_are_those_of_transformers(
    family: str, variant: str, bundle: Make, whole: Callable[[str, str], Path]
) -> None:
    captioner = opened(bundle(family, variant))
    (caption,) = captioner.caption(photo())
    adapter = registry.load(checkpoint.open_checkpoint(whole(family, variant)))
    spec = captioner.manifest.prompts[captioner.manifest.default_prompt]
    image = process(photo(), captioner.manifest.image)
    (ids,) = adapter.reference([image], spec.begin, Limits(spec.max_new_tokens, shipped=True))
    words = ids[:-1] if ids[-1] in spec.eos else ids
    assert list(caption.tokens) == words
    assert caption.text and caption.style == captioner.prompts[0]
    assert "".join(captioner.stream(photo())).strip() == caption.text


@pytest.mark.parametrize(("format_", "precision"), FORMATS)
def test_one_checkpoint_in_every_format(format_: str, precision: str, bundle: Make) -> None:
    path = bundle("blip", "tiny", format_, precision)
    assert passed(path)
    captioner = opened(path)
    assert not replay_expected(captioner, open_bundle(path)).failures
    wanted = opened(bundle("blip", "tiny")).caption(photo())[0]
    found = captioner.caption(photo())[0]
    if precision not in (
        "w8",
        "w8a8",
    ):  # random weights have near ties, and int8 decides them its own way
        assert found.tokens[:3] == wanted.tokens[:3]
    if precision == "fp32":
        assert found.tokens == wanted.tokens


def test_layers_of_w8a8_are_integers_by_the_plan_in_the_bundle(
    bundle: Make, tmp_path: Path
) -> None:
    path = bundle("blip", "tiny", "onnx", "w8a8")
    plan, manifest = read_plan(path / "plan.json"), open_bundle(path).manifest
    assert manifest.plan == plan.summary()
    assert manifest.plan["calibration"]["data"] == "own"
    static = [name for name, layer in plan.layers.items() if "decode" in layer.functions]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(str(path / "decode.onnx"), options)
    nodes = onnx.load(options.optimized_model_filepath, load_external_data=False).graph.node
    kinds = [node.op_type for node in nodes]
    assert static and kinds.count("QLinearMatMul") == len(static)


@pytest.mark.full
def test_one_plan_in_three_formats(bundle: Make) -> None:
    made = [bundle("blip", "tiny", each, "w8a8") for each in ("onnx", "tflite", "coreml")]
    first, *others = ((each / "plan.json").read_bytes() for each in made)
    assert all(other == first for other in others)


@pytest.mark.full
def test_a_norm_without_bias_keeps_its_layers_plan(bundle: Make) -> None:
    """The TFLite converter folds the gains of Llama's norms into the layers behind them."""
    path = bundle("smolvlm", "tiny", "tflite", "w8a8")
    assert passed(path)
    plan = read_plan(path / "plan.json")
    tree = tflite_graph.read((path / "model.tflite").read_bytes())
    decode = next(s for s in tree.signatureDefs if s.signatureKey == b"decode")
    graph = tflite_graph.Graph(tree, tree.subgraphs[decode.subgraphIndex])
    code = tflite_graph.schema().BuiltinOperator
    kinds = [graph.code(operator) for operator in graph.subgraph.operators]
    static = sum("decode" in layer.functions for layer in plan.layers.values())
    assert static and kinds.count(code.QUANTIZE) == static


@pytest.mark.full
def test_int8_takes_w8_where_w8a8_fails_and_says_so(
    whole: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = job.run_gate

    def strict(directory: Path, *others: Any) -> Any:
        if open_bundle(directory).manifest.precision == "w8a8":
            raise GateError("parity.failed", "tokens too few.")
        return real(directory, *others)

    monkeypatch.setattr(job, "run_gate", strict)
    lines: list[str] = []
    request = ExportRequest(
        str(whole("blip", "tiny")),
        ("onnx",),
        "int8",
        tmp_path / "made",
        scenes=2,
        calibration=CalibrationSpec(images=16),
    )
    made = export(request, lines.append)
    assert made.manifest.precision == "w8"
    assert "onnx: w8, because tokens too few." in lines


def test_what_cannot_be_calibrated_is_w8_or_refused(
    whole: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    embeds = ExportRequest(str(whole("siglip", "tiny")), ("onnx",), "int8")
    precisions, why = prepare(embeds).candidates["onnx"]
    assert precisions == ("w8",) and why is not None and "captions" in why
    with pytest.raises(UnsupportedError, match="captions") as caught:
        prepare(replace(embeds, precision="w8a8"))
    assert caught.value.hint == "Run with: --precision w8"
    writes = replace(embeds, model=str(whole("blip", "tiny")))
    assert prepare(writes).candidates["onnx"] == (("w8a8", "w8"), None)
    monkeypatch.setattr(checkpoint_model, "free_bytes", lambda: 1 << 20)
    precisions, why = prepare(writes).candidates["onnx"]
    assert precisions == ("w8",) and why is not None and "GiB" in why
    with pytest.raises(UnsupportedError, match="memory"):
        prepare(replace(writes, precision="w8a8"))


def test_plans_and_calibration_that_cannot_be(
    bundle: Make, whole: Callable[[str, str], Path], tmp_path: Path
) -> None:
    plan = bundle("blip", "tiny", "onnx", "w8a8") / "plan.json"
    blip = ExportRequest(str(whole("blip", "tiny")), ("onnx",), "w8a8", tmp_path / "b")
    few = CalibrationSpec(images=3)
    refused = {
        "plan.weights": replace(blip, model=str(whole("git", "tiny")), plan=plan),
        "plan.conflict": replace(blip, precision="fp16", plan=plan),
        "calibration.number": replace(blip, calibration=few),
        "calibration.data": replace(blip, calibration=CalibrationSpec(tmp_path / "none")),
    }
    for code, request in refused.items():
        with pytest.raises(InputError) as caught:
            prepare(request)
        assert caught.value.code == code
    assert prepare(replace(blip, plan=plan)).outputs == {"onnx": tmp_path / "b"}


@pytest.mark.full
def test_fewer_bytes(bundle: Make) -> None:
    """Of tiny layers; vectors and small tables stay float."""
    made = [bundle("blip", "tiny", "onnx", each) for each in ("fp32", "fp16", "w8")]
    full, half, quarter = ((each / "weights.bin").stat().st_size for each in made)
    assert half < 0.6 * full and quarter < 0.4 * full


def test_batches_beams_and_draws(bundle: Make) -> None:
    captioner = opened(bundle("kosmos-2", "tiny"))
    images = [photo(), photo((30, 90)), photo((64, 64))]
    alone = [captioner.caption(image)[0] for image in images]
    together = captioner.caption(images)
    assert [each.tokens for each in together] == [each.tokens for each in alone]
    beams = captioner.caption(images[0], beams=3)[0]
    assert beams.score >= alone[0].score - 1e-6
    drawn = Sampling(temperature=1.5, seed=3)
    first, again = (captioner.caption(images[0], sampling=drawn)[0] for _ in range(2))
    assert first.tokens == again.tokens
    short = captioner.caption(images[0], max_length=2)[0]
    assert short.tokens == alone[0].tokens[:2] and not short.complete


def test_what_cannot_be_asked_is_refused(bundle: Make) -> None:
    captioner = opened(bundle("kosmos-2", "tiny"))
    with pytest.raises(InputError, match="prompt"):
        captioner.caption(photo(), prompt="poem")
    with pytest.raises(UnsupportedError):
        captioner.caption(photo(), beams=2, sampling=Sampling())
    with pytest.raises(InputError):
        captioner.caption(photo(), max_length=0)
    with pytest.raises(UnsupportedError, match="embeddings"):
        captioner.embed_images(photo())
    errors = list(captioner.caption_many([b"no image", photo()], on_error="skip"))
    assert isinstance(errors[0], InputError) and not isinstance(errors[1], InputError)


# SigLIP differs in its functions, which tests/models compares; CLIP's bundle is shared.
@pytest.mark.parametrize("family", ["clip", pytest.param("siglip", marks=pytest.mark.full)])
def test_an_embedder_embeds_and_writes_nothing(
    family: str, bundle: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bundle(family, "tiny")
    assert main(["verify", str(path)]) == 0
    assert "all files as listed\n" in capsys.readouterr().out
    captioner = opened(path)
    vectors = captioner.embed_images([photo(), photo((20, 60))])
    assert vectors.shape == (2, captioner.manifest.interface.dims["E"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    with pytest.raises(UnsupportedError, match="captions"):
        captioner.caption(photo())


class Lying(nn.Module):
    """A function whose last output is wrong in one element."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Any:
        made = self.module(*inputs)
        spoilt = made[0].clone()
        spoilt[..., 3] += 1.0
        return (spoilt, *made[1:])


def test_a_converter_that_lies_is_caught(bundle: Make, whole: Callable[[str, str], Path]) -> None:
    adapter: Any = registry.load(checkpoint.open_checkpoint(whole("blip", "tiny")))
    functions = {each.name: each for each in adapter.functions()}
    lying = replace(functions["decode"], module=Lying(functions["decode"].module))
    adapter.functions = lambda: (functions["encode"], lying)
    with pytest.raises(GateError, match="decode gives another logits") as caught:
        compare_functions(adapter, bundle("blip", "tiny"))
    assert caught.value.code == "parity.converter"


def test_a_gate_that_fails_leaves_what_was_asked_for(
    whole: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captions that are not the model's: here, of images that it was never shown."""
    original = checkpoint_model.reference_outputs

    def swapped(*arguments: Any) -> Any:
        wanted = original(*arguments)
        return replace(wanted, logits=wanted.logits[:, ::-1].copy())

    monkeypatch.setattr(checkpoint_model, "reference_outputs", swapped)
    model, failed = str(whole("blip", "tiny")), tmp_path / "failed"
    request = ExportRequest(model, ("onnx",), output=tmp_path / "b", scenes=2, keep_failed=failed)
    with pytest.raises(GateError, match="logits"):
        export(request)
    assert list(tmp_path.iterdir()) == [failed]
    (kept,) = failed.iterdir()
    bundle = open_bundle(kept, verify="full")
    assert certificate_from_json(bundle.json("parity.json")).verdict == "fail"
    assert load(kept).caption(photo(), max_length=2)


def damaged(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Manifests of schema 2 that contradict themselves, and the code of their refusal."""
    text = (path / "manifest.json").read_text()

    def but(edit: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(text)
        edit(value)
        return value

    def set_in(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
        def edit(value: dict[str, Any]) -> None:
            for key in keys[:-1]:
                value = value[key]
            value[keys[-1]] = to

        return edit

    yield "bundle.unknown_field", but(set_in("extra", to=1))
    yield "bundle.missing_field", but(lambda value: value.pop("prompts"))
    yield "bundle.interface", but(set_in("interface", "dims", "T", to=0))
    yield "bundle.image", but(set_in("image", "filter", to="cubic"))
    yield "bundle.manifest", but(set_in("image", "size", to=[8, 8]))
    yield "bundle.manifest", but(set_in("tokenizer", to=None))
    yield "bundle.generation", but(set_in("prompts", "caption", "begin", to=[1 << 20]))
    yield "bundle.manifest", but(set_in("prompts", "caption", "max_new_tokens", to=4000))
    yield "bundle.manifest", but(set_in("functions", "decode", "inputs", to={}))
    yield "bundle.missing_file", but(set_in("functions", "decode", "file", to="other.onnx"))
    yield "bundle.path", but(set_in("files", "../x", to={"sha256": "0" * 64, "size": 1}))
    yield "bundle.schema", but(set_in("schema", to=3))


def test_manifests_that_contradict_themselves_are_refused(bundle: Make, tmp_path: Path) -> None:
    from edgecap.bundle.schemas import manifest_from_json

    for code, value in damaged(bundle("blip", "tiny")):
        with pytest.raises(BundleError) as caught:
            manifest_from_json(value)
        assert caught.value.code == code, value


def test_a_doctored_bundle_fails_verify(bundle: Make, tmp_path: Path) -> None:
    """Weights halved and hashed anew: files agree with the manifest, answers do not."""
    import shutil

    from edgecap.bundle.io import finalize

    copy = tmp_path / "doctored"
    shutil.copytree(bundle("blip", "tiny"), copy)
    weights = np.fromfile(copy / "weights.bin", np.float32)
    (weights * 0.5).tofile(copy / "weights.bin")
    finalize(copy, open_bundle(bundle("blip", "tiny")).manifest)
    certificate = replay_expected(opened(copy), open_bundle(copy))
    assert any("logits" in line for line in certificate.failures)
