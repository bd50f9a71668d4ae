"""What edgecap does with models of schema 2 against the vectors, read as a port would."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from vectors import assert_bytes, noise, topic

from edgecap.bundle.generation_spec import generation_spec_from_json
from edgecap.bundle.image_spec import image_spec_from_json
from edgecap.bundle.regions_spec import regions_spec_from_json
from edgecap.bundle.text_spec import text_spec_from_json
from edgecap.core.errors import BundleError
from edgecap.core.typed import parse
from edgecap.runtime.decode import generate
from edgecap.runtime.image_processing import Placement, process
from edgecap.runtime.logits import apply_rules
from edgecap.runtime.regions import Input, read_regions
from edgecap.runtime.rules import Rules
from edgecap.runtime.sampling import Sampler, Sampling
from edgecap.runtime.state import Step
from edgecap.runtime.text import TextCodec

CODECS, RULES, BEAMS, REGIONS = map(topic, ("codecs", "logits_rules", "beams", "regions2"))


def code_of(text: str, read: Any) -> str | None:
    try:
        read(parse(text.encode(), "file"))
    except BundleError as error:
        return error.code
    return None


@pytest.mark.parametrize("case", topic("image_specs")["cases"], ids=lambda case: case["seed"])
def test_images(case: dict[str, Any]) -> None:
    image = noise(case["width"], case["height"], case["channels"], case["seed"])
    done = process(image, image_spec_from_json(case["spec"]))
    assert_bytes("image_specs", case, done.pixels)
    assert [*done.grid, len(done.pixels)] == case["grid"]
    p = done.placement
    assert [p.left, p.top, p.scaled_width, p.scaled_height] == case["placement"]


@pytest.mark.parametrize("case", CODECS["codecs"], ids=lambda case: case["file"][:40])
def test_codecs(case: dict[str, Any]) -> None:
    codec = TextCodec.from_bytes(case["file"].encode(), "tokenizer.json")
    for text in case["texts"]:
        stream = codec.stream(skip_special=text["clean"])
        assert [*map(stream.push, text["ids"]), stream.finish()] == text["pieces"]
        assert codec.decode(text["ids"], skip_special=text["clean"]) == "".join(text["pieces"])


def test_codecs_that_are_refused() -> None:
    codes = [code_of(case["file"], text_spec_from_json) for case in CODECS["refusals"]]
    assert codes == [case["code"] for case in CODECS["refusals"]]
    assert None not in codes


def test_rules() -> None:
    for case in RULES["cases"]:
        scores = np.array(case["scores"], np.float32) / RULES["scale"]
        ruled = apply_rules(generation_spec_from_json(case["spec"]), scores, case["generated"])
        expected = [-np.inf if x is None else x for x in case["ruled"]]
        np.testing.assert_array_equal(ruled, np.array(expected, np.float32))


class Sums:
    """The model of beams.json; see conformance/README.md."""

    is_one_by_one = False

    def __init__(self) -> None:
        self.sums = [0]

    def __len__(self) -> int:
        return len(self.sums)

    def alone(self) -> Iterator[Any]:
        yield self

    def prompt(self, tokens: Sequence[int]) -> Step:
        return self.feed([sum(tokens)])

    def feed(self, tokens: Sequence[int]) -> Step:
        self.sums = [s + t for s, t in zip(self.sums, tokens, strict=True)]
        rows = [BEAMS["table"][s % BEAMS["rows"]] for s in self.sums]
        return Step(np.array(rows, np.float32) / BEAMS["scale"], None)

    def select(self, parents: Sequence[int]) -> None:
        self.sums = [self.sums[p] for p in parents]


@pytest.mark.parametrize("case", BEAMS["cases"], ids=str)
def test_searches(case: dict[str, Any]) -> None:
    state: Any = Sums()
    rules = Rules(generation_spec_from_json(case["spec"]))
    choose = Sampler(Sampling(**case["sampling"]), [0]) if case["sampling"] else None
    if "code" in case:
        with pytest.raises(BundleError) as refused:
            generate(state, rules, choose)
        assert refused.value.code == case["code"]
        return
    (found,) = generate(state, rules, choose)
    assert (found.tokens, found.complete) == (case["tokens"], case["complete"])
    assert [chosen.score for chosen in found.chosen] == pytest.approx(case["scores"], abs=2e-5)
    assert found.score == pytest.approx(case["score"], abs=2e-5)


def test_regions() -> None:
    codec = TextCodec.from_bytes(REGIONS["file"].encode(), "tokenizer.json")
    for case in REGIONS["cases"]:
        view = Input(tuple(case["size"]), Placement(*case["placement"]))
        spec = regions_spec_from_json(case["spec"])
        reading = read_regions(case["ids"], codec, spec, view, case["scores"])
        assert (reading.text, reading.malformed) == (case["text"], case["malformed"])
        spans = [
            [len(reading.text[:p].encode()) for p in (r.start, r.end)] for r in reading.regions
        ]
        assert spans == case["spans"]
        assert all(start <= end for start, end in spans)
        for region, boxes, scores in zip(
            reading.regions, case["boxes"], case["box_scores"], strict=True
        ):
            np.testing.assert_allclose(region.boxes, boxes, rtol=0, atol=1e-9)
            np.testing.assert_allclose(region.scores, scores, rtol=0, atol=1e-9)
