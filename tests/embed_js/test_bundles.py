"""Real bundles in Node: the same text, boxes, maps and vectors as Python on the same engine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from js_edgecap import MODULES, REPO, Caption
from PIL import Image
from schema1 import schema1_twin

from edgecap.bundle.packing import pack
from edgecap.runtime import load

SAMPLE = REPO / "edgecap" / "reference" / "data" / "sample.png"
SOURCES = REPO / "edgecap" / "embed" / "js" / "src"
SIZES = ((256, 192), (101, 230), (64, 64), (640, 100))


def images() -> list[Image.Image]:
    with Image.open(SAMPLE) as sample:
        return [sample.convert("RGB").resize(size) for size in SIZES]


@pytest.fixture(scope="module", params=["schema 1", "schema 2"])
def reference(
    request: pytest.FixtureRequest, tiny_bundle_made: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A tiny captioner with languages, boxes and maps, written in either schema."""
    if request.param == "schema 2":
        return tiny_bundle_made
    return schema1_twin(tiny_bundle_made, tmp_path_factory.mktemp("twin") / tiny_bundle_made.name)


def alike(answer: dict[str, Any], expected: Any) -> None:
    assert answer["tokens"] == list(expected.tokens)
    assert (answer["text"], answer["raw"]) == (expected.text, expected.raw)
    assert answer["complete"] == expected.complete
    assert answer["malformed"] == expected.malformed
    assert [r["phrase"] for r in answer["regions"]] == [m.phrase for m in expected.mentions]
    assert [tuple(r["span"]) for r in answer["regions"]] == [m.span for m in expected.mentions]
    for region, mention in zip(answer["regions"], expected.mentions, strict=True):
        np.testing.assert_allclose(region["boxes"], mention.boxes, rtol=0, atol=1e-9)
        np.testing.assert_allclose(region["scores"], mention.scores, rtol=0, atol=1e-4)
    np.testing.assert_allclose(answer["score"], expected.score, rtol=0, atol=1e-4)


@pytest.mark.parametrize("engine", ["onnxruntime-node", "onnxruntime-web"])
def test_captions_boxes_and_beams(
    tiny_bundle_made: Path, reference: Path, caption: Caption, engine: str
) -> None:
    captioner = load(tiny_bundle_made)
    asked, expected = [], []
    for image in images():
        for options in (
            {"lang": "en"},
            {"lang": "de", "prompt": "plain"},
            {"beams": 3},
            {"beams": 2, "maxLength": 5, "rule": False},
        ):
            asked.append((image, options))
            wanted = {
                "lang": options.get("lang", "en"),
                "style": options.get("prompt"),
                "beams": options.get("beams", 1),
                "max_length": options.get("maxLength"),
                "constrained": options.get("rule", True),
            }
            expected += captioner.caption(image, **wanted)
    answers = caption(reference, asked, engine)["answers"]
    assert len(answers) == len(expected)
    for answer, one in zip(answers, expected, strict=True):
        alike(answer, one)
        if answer["streamed"]:
            assert answer["text"].startswith(answer["streamed"][0])


def test_maps_are_those_of_python(
    tiny_bundle_made: Path, reference: Path, caption: Caption
) -> None:
    image = images()[0]
    explained = load(tiny_bundle_made).attention(image)
    (answer,) = caption(reference, [(image, {})])["answers"]
    assert [w["text"] for w in answer["words"]] == [w.text for w in explained.words]
    assert [tuple(w["tokens"]) for w in answer["words"]] == [w.tokens for w in explained.words]
    for word, wanted in zip(answer["words"], explained.words, strict=True):
        np.testing.assert_allclose(word["map"], wanted.map.ravel(), rtol=0, atol=1e-5)
        if word["span"]:
            begin, end = word["span"]
            assert answer["text"][begin:end] == word["text"]


def test_attention_by_head_changes_nothing(
    tiny_attention_bundle: Path, caption: Caption, tmp_path: Path
) -> None:
    """A function that this package does not call is neither refused nor opened."""
    asked = [(images()[0], {"maxLength": 6})]
    (expected,) = caption(tiny_attention_bundle, asked)["answers"]
    twin = schema1_twin(tiny_attention_bundle, tmp_path / "twin")
    (answer,) = caption(twin, asked)["answers"]
    assert (answer["tokens"], answer["words"]) == (expected["tokens"], expected["words"])


def test_draws_are_those_of_python(
    tiny_bundle_made: Path, reference: Path, caption: Caption
) -> None:
    from edgecap.runtime.sampling import Sampling

    how = {"temperature": 3.0, "topK": 999, "topP": 0.9, "seed": 1}
    asked = [(image, {"sampling": {**how, "index": i}}) for i, image in enumerate(images())]
    wanted = Sampling(temperature=3.0, top_k=999, top_p=0.9, seed=1)
    expected = load(tiny_bundle_made).caption(images(), sampling=wanted)
    answers = caption(reference, asked)["answers"]
    for answer, one in zip(answers, expected, strict=True):
        alike(answer, one)
    assert any(answer["regions"] for answer in answers)  # random weights seldom draw boxes


def test_a_packed_bundle_is_the_same(
    tiny_bundle_made: Path, caption: Caption, tmp_path: Path
) -> None:
    packed = pack(tiny_bundle_made, tmp_path / "one.edgecap", strip=True)
    asked = [(image, {}) for image in images()]
    answers = caption(packed, asked)["answers"]
    assert [a["tokens"] for a in answers] == [
        list(c.tokens) for c in load(tiny_bundle_made).caption(images())
    ]
    data = bytearray(packed.read_bytes())
    data[data.index(b'"merges"')] ^= 1
    packed.write_bytes(data)
    assert caption(packed, asked)["code"] == "bundle.altered"
    packed.write_bytes(data[:-1])
    assert caption(packed, asked)["code"] == "bundle.container"
    packed.unlink()
    assert caption(packed, asked)["code"] == "bundle.missing"


def test_vectors_are_those_of_python(
    tiny_bundle_made: Path, reference: Path, caption: Caption
) -> None:
    captioner, image = load(tiny_bundle_made), images()[1]
    texts = ["a dog and two red circles", "  una casa  ", "犬と猫"]
    (answer,) = caption(reference, [(image, {})], texts=texts)["answers"]
    wanted = np.concatenate([captioner.embed_images(image), captioner.embed_texts(texts)])
    np.testing.assert_allclose(answer["vectors"], wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options, code",
    [
        ({"lang": "xx"}, "language.unknown"),
        ({"prompt": "poem"}, "style.unknown"),
        ({"beams": 33}, "caption.beams"),
        ({"beams": 2, "sampling": {}}, "caption.beams_sampled"),
        ({"maxLength": 0}, "caption.length"),
        ({"sampling": {"temperature": 0}}, "sampling.temperature"),
        ({"max_new_tokens": 5}, "option.unknown"),
    ],
)
def test_requests_that_are_refused(
    reference: Path, caption: Caption, options: dict[str, Any], code: str
) -> None:
    assert caption(reference, [(images()[2], options)])["code"] == code


def test_bundles_that_are_refused(tiny_bundle: Path, caption: Caption) -> None:
    graph = tiny_bundle / "decode.onnx"
    whole = graph.read_bytes()

    def refused() -> str:
        code: str = caption(tiny_bundle, [(images()[2], {})])["code"]
        return code

    graph.write_bytes(whole[:-1])
    assert refused() == "bundle.truncated"
    graph.write_bytes(whole + b"\0")
    assert refused() == "bundle.oversized"
    graph.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert refused() == "bundle.altered"
    graph.unlink()
    assert refused() == "bundle.missing_file"
    graph.mkdir()
    assert refused() == "bundle.not_a_file"
    graph.rmdir()
    graph.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    assert refused() == "bundle.lfs_pointer"
    (tiny_bundle / "manifest.json").unlink()
    assert refused() == "bundle.missing_file"


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with prompts."""
    from tiny_bundles import shared_bundle  # needs torch; the other tests here do not

    return shared_bundle(tmp_path_factory, "blip", "tiny")


def test_captions_of_a_model_with_prompts(blip: Path, caption: Caption) -> None:
    captioner = load(blip)
    asked = [(i, o) for i in images() for o in ({"beams": 1}, {"beams": 4}, {"maxLength": 3})]
    expected = []
    for image, options in asked:
        wanted = {"beams": options.get("beams"), "max_length": options.get("maxLength")}
        expected += captioner.caption(image, **wanted)
    answers = caption(blip, asked)["answers"]
    for answer, one in zip(answers, expected, strict=True):
        alike(answer, one)


def test_a_model_with_prompts_has_no_languages(blip: Path, caption: Caption) -> None:
    assert caption(blip, [(images()[0], {"lang": "en"})])["code"] == "model.capability"
    assert caption(blip, [(images()[0], {"prompt": "no"})])["code"] == "prompt.unknown"


def test_what_people_read_may_be_edited_or_missing(tiny_bundle: Path, caption: Caption) -> None:
    (tiny_bundle / "README.md").write_text("edited")
    (tiny_bundle / "decode.onnx").rename(tiny_bundle.parent / "linked.onnx")
    (tiny_bundle / "decode.onnx").symlink_to(tiny_bundle.parent / "linked.onnx")
    assert len(caption(tiny_bundle, [(images()[2], {})])["answers"]) == 1


def test_onnxruntime_reports_nothing(tiny_bundle_made: Path, tmp_path: Path) -> None:
    """Its reports, of 1.29 and later, begin with an id of the device in the home directory."""
    home, app = tmp_path / "home", tmp_path / "app"
    home.mkdir()
    shutil.copytree(SOURCES, app / "src")
    (app / "node_modules").symlink_to(MODULES / "node_modules")
    (app / "load.mjs").write_text(
        'import { Captioner } from "./src/index.js";\n'
        "await Captioner.fromPretrained(process.argv[2]);\n"
    )
    command = [shutil.which("node"), app / "load.mjs", tiny_bundle_made]
    done = subprocess.run(command, env={"HOME": str(home)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []
