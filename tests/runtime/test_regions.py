"""Words and boxes out of ids, as the models' own post-processing reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast
from transformers.models.florence2.processing_florence2 import Florence2PostProcessor
from transformers.models.kosmos2.processing_kosmos2 import (
    clean_text_and_extract_entities_with_bboxes,
)

from edgecap.bundle.regions_spec import RegionsSpec
from edgecap.models.translate import Checkpoint, regions_spec, text_spec, without_tags
from edgecap.runtime.image_processing import Placement
from edgecap.runtime.regions import Input, Reading, read_regions
from edgecap.runtime.text import TextCodec
from edgecap.runtime.text.from_tokenizer import codec_of
from edgecap.runtime.tokenizer import Tokenizer as ReferenceTokenizer

DATA = Path(__file__).resolve().parents[2] / "edgecap" / "reference" / "data"
WORDS = ["▁a", "▁the", "▁dog", "▁snow", "man", "▁and", ",", ".", "▁;", "▁on", "s", "▁é"]
W, H, SIDE = 640, 427, 224
STRETCHED = Input((SIDE, SIDE), Placement(W, H, 0, 0, SIDE, SIDE))


def vocabulary(tmp_path: Path, added: list[str]) -> tuple[TextCodec, Any, Callable[[str], int]]:
    """A codec, transformers' tokenizer of the same files, and the ids of tokens."""
    tokenizer = Tokenizer(models.Unigram([(t, -1.0) for t in ["<unk>", *WORDS]], unk_id=0))
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    tokenizer.add_special_tokens(["<pad>", "<s>", "</s>"])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in added])
    theirs = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    theirs.save_pretrained(tmp_path)
    codec = TextCodec(text_spec(Checkpoint(tmp_path)))
    return codec, theirs, codec.id_of


def phrases(reading: Reading) -> list[str]:
    return [reading.phrase(region) for region in reading.regions]


KOSMOS_MARKS = {
    "phrase": "<phrase>",
    "end_phrase": "</phrase>",
    "object": "<object>",
    "end_object": "</object>",
    "delimiter": "</delimiter_of_multi_objects/>",
}


@pytest.fixture(scope="module")
def kosmos(tmp_path_factory: pytest.TempPathFactory) -> Any:
    cells = [f"<patch_index_{n:04}>" for n in range(1024)]
    added = ["<grounding>", "</chunk>", *KOSMOS_MARKS.values(), *cells]
    codec, theirs, id_of = vocabulary(tmp_path_factory.mktemp("kosmos"), added)
    spec = regions_spec(codec.spec, "cells2")
    assert spec.first == id_of(cells[0])
    assert spec.marks == {name: id_of(token) for name, token in KOSMOS_MARKS.items()}
    return TextCodec(without_tags(codec.spec, "cells2")), theirs, spec


def kosmos_caption(generator: np.random.Generator, spec: RegionsSpec, broken: bool) -> list[int]:
    """Ids of a caption with grounded phrases, well-formed or with tokens lost and swapped."""
    marks, ids = spec.marks, [int(generator.integers(13, 16))] * int(generator.integers(0, 2))

    def words() -> list[int]:
        return generator.integers(1, len(WORDS) + 1, generator.integers(1, 4)).tolist()

    def pair() -> list[int]:
        cells = np.sort(generator.integers(0, 32, (2, 2)), 0)  # corners: upper left, lower right
        return (spec.first + cells[:, 0] * 32 + cells[:, 1]).tolist()

    for _ in range(generator.integers(0, 4)):
        ids += words()
        if generator.random() < 0.8:
            ids += [marks["phrase"], *words(), marks["end_phrase"]]
        if generator.random() < 0.8:
            ids += [marks["object"], *pair()]
            for _ in range(generator.integers(0, 3)):
                ids += [marks["delimiter"], *pair()]
            ids.append(marks["end_object"])
    if broken and ids:
        for _ in range(generator.integers(1, 4)):
            a, b = generator.integers(0, len(ids), 2)
            ids[a], ids[b] = ids[b], ids[a]
        del ids[generator.integers(0, len(ids))]
    return ids


def ordered(box: tuple[float, ...]) -> bool:
    return box[0] <= box[2] and box[1] <= box[3]


@pytest.mark.parametrize("broken", [False, True])
def test_kosmos_captions_are_read_as_its_processor_reads_them(kosmos: Any, broken: bool) -> None:
    codec, theirs, spec = kosmos
    generator = np.random.default_rng(7)
    found = 0
    for _ in range(400):
        ids = kosmos_caption(generator, spec, broken)
        text, entities = clean_text_and_extract_entities_with_bboxes(
            theirs.decode(ids, skip_special_tokens=True)
        )
        reading = read_regions(ids, codec, spec, STRETCHED)
        assert reading.text == text
        got = [((r.start, r.end), r.boxes) for r in reading.regions]
        expected = []
        for name, span, boxes in entities:
            # Where tokens were swapped a box may have its corners in the wrong order: left out.
            scaled = [tuple(np.multiply(box, (W, H, W, H))) for box in boxes if ordered(box)]
            if scaled:
                expected.append((span if not name.startswith("<") else (span[0],) * 2, scaled))
        assert [span for span, _ in got] == [span for span, _ in expected], ids
        for (_, ours), (_, boxes) in zip(got, expected, strict=True):
            np.testing.assert_allclose(ours, boxes, atol=1e-9)
        found += len(got)
    assert found > 200


def test_other_tags_of_kosmos_are_no_words(kosmos: Any) -> None:
    """Its processor takes out all that stands in angle brackets."""
    codec, theirs, spec = kosmos
    generator = np.random.default_rng(8)
    tags = [codec.id_of("<grounding>"), codec.id_of("</chunk>")]
    for _ in range(100):
        ids = [tags[0], *kosmos_caption(generator, spec, False), tags[1]]
        text, entities = clean_text_and_extract_entities_with_bboxes(
            theirs.decode(ids, skip_special_tokens=True)
        )
        reading = read_regions(ids, codec, spec, STRETCHED)
        assert reading.text == text
        named = [name for name, *_ in entities if not name.startswith("<")]
        assert [phrase for phrase in phrases(reading) if phrase] == [n for n in named if n]


def test_a_kosmos_object_without_its_end_is_counted(kosmos: Any) -> None:
    codec, _, spec = kosmos
    ids = [3, spec.marks["object"], spec.first + 1, spec.first + 40]
    assert read_regions(ids, codec, spec, STRETCHED) == Reading("dog", (), 1)


@pytest.fixture(scope="module")
def florence(tmp_path_factory: pytest.TempPathFactory) -> Any:
    added = [f"<loc_{n}>" for n in range(1000)]
    codec, theirs, id_of = vocabulary(tmp_path_factory.mktemp("florence"), added)
    return codec, theirs, RegionsSpec("loc1000", id_of("<loc_0>"), 1000)


@pytest.mark.parametrize("task", ["phrase_grounding", "description_with_bboxes"])
def test_florence_captions_are_read_as_its_post_processor_reads_them(
    florence: Any, task: str
) -> None:
    codec, theirs, spec = florence
    processor = Florence2PostProcessor({task: {}}, theirs)
    generator = np.random.default_rng(9)
    for _ in range(200):
        ids = [codec.id_of("<s>")]
        for _ in range(generator.integers(0, 4)):
            ids += generator.integers(1, len(WORDS), generator.integers(1, 4)).tolist()
            for _ in range(generator.integers(1, 3)):
                corners = np.sort(generator.integers(0, 1000, (2, 2)), 0)
                ids += (spec.first + corners.ravel()).tolist()
            ids += [spec.first] * int(generator.integers(0, 3))  # places left over
        text = theirs.decode(ids)
        parsed = processor(text=text, image_size=(W, H), parse_tasks=task)[task]
        reading = read_regions(ids, codec, spec, STRETCHED)
        got = [(reading.phrase(r), box) for r in reading.regions for box in r.boxes]
        expected = [
            (entry["cat_name"], box)
            for entry in parsed
            for box in (entry["bbox"] if task == "phrase_grounding" else [entry["bbox"]])
        ]
        plain = [name.encode("ascii", "ignore").decode().strip() for name, _ in got]
        assert plain == [name for name, _ in expected]
        # Theirs are cut to whole pixels.
        ours = np.reshape([box for _, box in got], (-1, 4))
        whole = np.reshape([box for _, box in expected], (-1, 4))
        assert ((ours - whole > -1e-3) & (ours - whole < 1 + 1e-3)).all()


def test_paligemma_writes_y_first_and_the_phrase_after(tmp_path: Path) -> None:
    codec, _, id_of = vocabulary(tmp_path, [f"<loc{n:04}>" for n in range(1024)])
    spec = RegionsSpec("loc1024", id_of("<loc0000>"), 1024)
    places = [f"<loc{n:04}>" for n in (256, 128, 512, 1023, 0, 0, 64, 32)]
    tokens = [*places[:4], "▁the", "▁dog", "▁;", *places[4:], "▁snow", "man", "</s>"]
    ids = [id_of(token) for token in tokens]
    reading = read_regions(ids, codec, spec, STRETCHED)
    assert reading.text == "the dog ; snowman"
    assert phrases(reading) == ["the dog", "snowman"]
    first, second = (region.boxes[0] for region in reading.regions)
    np.testing.assert_allclose(first, (W / 8, H / 4, W * 1023 / 1024, H / 2))
    np.testing.assert_allclose(second, (0, 0, W / 32, H / 16))


def test_boxes_are_in_the_pixels_of_a_padded_image(tmp_path: Path) -> None:
    """The input shows a wide image between two bands; boxes in a band end at its edge."""
    codec, _, id_of = vocabulary(tmp_path, [f"<loc_{n}>" for n in range(1000)])
    spec = RegionsSpec("loc1000", id_of("<loc_0>"), 1000)
    view = Input((200, 200), Placement(400, 200, 0, 50, 200, 100))
    ids = [id_of("▁dog"), *(spec.first + n for n in (0, 100, 999, 500))]
    (region,) = read_regions(ids, codec, spec, view).regions
    np.testing.assert_allclose(region.boxes[0], (0.2, 0, 399.8, 100.2))


def test_scores_are_geometric_means_and_bad_boxes_are_counted(florence: Any) -> None:
    codec, _, spec = florence
    places = [spec.first + n for n in (9, 9, 20, 30, 40, 40, 30, 50)]  # the second has x1 < x0
    scores = np.log([1, 0.5, 0.5, 0.125, 0.125, 1, 1, 1, 1])
    reading = read_regions([3, *places], codec, spec, STRETCHED, scores.tolist())
    assert reading.malformed == 1
    assert reading.regions[0].scores == pytest.approx([0.25])


def test_without_a_rule_a_phrase_begins_after_punctuation(tmp_path: Path) -> None:
    codec, _, id_of = vocabulary(tmp_path, [f"<loc_{n:02}>" for n in range(57)])
    spec = RegionsSpec("edges4", id_of("<loc_00>"), 57, bin_px=4)
    box = [spec.first + n for n in (0, 0, 28, 56)]
    ids = [id_of("▁a"), id_of("▁snow"), id_of(","), id_of("▁the"), id_of("▁dog"), *box, *box]
    reading = read_regions(ids, codec, spec, STRETCHED)
    assert reading.text == "a snow, the dog"
    assert phrases(reading) == ["the dog"]
    np.testing.assert_allclose(reading.regions[0].boxes, [(0, 0, W / 2, H)] * 2)


def test_the_references_codec_decodes_as_its_tokenizer() -> None:
    """Phrases and boxes of its captions: the vectors of conformance."""
    reference = ReferenceTokenizer((DATA / "tokenizer.json").read_bytes())
    codec = codec_of(reference)
    assert len(codec) == len(reference)
    generator = np.random.default_rng(13)
    for _ in range(500):
        ids = generator.integers(0, len(reference), generator.integers(0, 9)).tolist()
        assert codec.decode(ids, skip_special=False) == reference.decode(ids)
