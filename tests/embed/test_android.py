"""The Kotlin library on the desktop's JVM, over real engines: it says what Python says."""

import shutil
from pathlib import Path

import android
import numpy as np
import pytest
from c_edgecap import Library, engine_library
from calibrated import calibrated, middling

from edgecap.bundle.packing import pack
from edgecap.runtime import load
from edgecap.runtime.sampling import Sampling

pytestmark = pytest.mark.full

NOISE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
IMAGE = np.kron(NOISE, np.ones((11, 9, 1), np.uint8))  # [55,63,3]


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("classes")
    sources = [*android.KOTLIN.rglob("*.kt"), Path(__file__).parent / "android" / "Desktop.kt"]
    android.compile_kotlin(sources, out, android.android_jar())
    return out


@pytest.fixture(scope="module", params=["onnx", "tflite"])
def said(
    request: pytest.FixtureRequest,
    classes: Path,
    bundles: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, str], Path]:
    """What the program in Desktop.kt found, by name, and the bundle."""
    folder = tmp_path_factory.mktemp("jni")
    library = android.compile_jni(folder, "-O1")
    pixels = folder / "image.rgb"
    pixels.write_bytes(IMAGE.tobytes())
    bundle = Path(shutil.copytree(bundles[request.param], folder / request.param))
    calibrated(bundle, middling(bundle, [IMAGE]))
    packed = pack(bundle, folder / "bundle.edgecap")
    size = (str(IMAGE.shape[1]), str(IMAGE.shape[0]))
    out = android.java(
        [classes], library, "dev.edgecap.DesktopKt", packed, engine_library(request.param),
        pixels, *size,
    )  # fmt: skip
    return dict(line.split("\t", 1) for line in out.split("\n") if "\t" in line), bundle


def test_captions_are_those_of_python(said: tuple[dict[str, str], Path]) -> None:
    found, bundle = said
    python = load(bundle)
    asked = {
        "plain": python.caption(IMAGE)[0],
        "again": python.caption(IMAGE)[0],
        "german": python.caption(IMAGE, lang="de", beams=3)[0],
        "sampled": python.caption(IMAGE, sampling=Sampling(20.0, seed=8))[0],
    }
    for name, expected in asked.items():
        assert found[name] == " ".join(map(str, expected.tokens)), name
        assert bytes.fromhex(found[f"{name} text"]).decode() == expected.text
        mentions = [one.split(" ") for one in found[f"{name} mentions"].split("|") if one]
        told = [(bytes.fromhex(one[0]).decode(), [float(x) for x in one[1:]]) for one in mentions]
        assert told == [(m.phrase, [x for box in m.boxes for x in box]) for m in expected.mentions]
    assert asked["sampled"].mentions
    assert asked["plain"].tokens != asked["german"].tokens
    assert found["end"] == ""


def test_confidences_are_those_of_python(said: tuple[dict[str, str], Path]) -> None:
    found, bundle = said
    for told, minimum in zip(found["sure"].split("|"), (0.0, "auto", 1.0), strict=True):
        text, declined, *numbers = told.split(" ")
        python = load(bundle, min_confidence=minimum)
        (expected,) = python.caption(IMAGE, sampling=Sampling(20.0, seed=8))
        assert bytes.fromhex(text).decode() == expected.text
        assert declined == str(expected.declined).lower()
        sure = [c for mention in expected.mentions for c in mention.confidences]
        assert [*map(float, numbers)] == pytest.approx([expected.confidence, *sure], abs=1e-5)
        assert len(numbers) == 1 if minimum == 1 else len(numbers) > 1 or expected.declined


def test_embeddings_are_those_of_python(said: tuple[dict[str, str], Path]) -> None:
    found, bundle = said
    python = load(bundle)
    image = np.array(found["embedded"].split(), np.float32)
    text = np.array(found["text"].split(), np.float32)
    np.testing.assert_allclose(image, python.embed_images(IMAGE)[0], atol=1e-6)
    np.testing.assert_allclose(text, python.embed_texts("ein Äffchen 🐒")[0], atol=1e-6)


def test_flows(said: tuple[dict[str, str], Path]) -> None:
    found, _ = said
    pieces, joined = found["stream"].split()
    assert int(pieces) > 1 and joined == "true"
    assert found["cut"] == "2"
    assert found["together"] == "true"


def test_attention_is_that_of_c(said: tuple[dict[str, str], Path], library: Library) -> None:
    found, bundle = said
    kind = "onnx" if "onnx" in bundle.name else "tflite"
    captioner = library.open(bundle, library=engine_library(kind))
    maps = captioner.describe(IMAGE).attention  # [tokens,P]
    captioner.close()
    tokens, patches, first = found["attention"].split()
    assert (int(tokens), int(patches)) == maps.shape
    assert float(first) == pytest.approx(float(maps[0].sum()), rel=1e-4)


def test_refusals(said: tuple[dict[str, str], Path]) -> None:
    found, _ = said
    expected = {
        "language": "INPUT language.unknown",
        "confidence": "INPUT confidence.minimum",
        "uncalibrated style": "UNSUPPORTED confidence.style",
        "beams": "INPUT caption.beams",
        "stopped": "STOPPED caption.stopped",
        "nested": "UNSUPPORTED captioner.busy",
        "null": "INPUT text.null",
        "empty text": "INPUT text.empty",
        "heap buffer": "INPUT image.buffer",
        "short buffer": "INPUT image.buffer",
        "offset": "INPUT image.buffer",
        "no width": "INPUT image.empty",
        "negative stride": "INPUT image.buffer",
        "no bundle": "BUNDLE bundle.missing",
        "no engine": "ENGINE engine.missing",
        "listener": "mine",
        "closed": "INPUT captioner.closed",
    }
    assert {name: found[name] for name in expected} == expected
