"""Phrases to boxes and statements to truth, by scoring, with a model that knows the truth."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import oracle
import pytest
from method_session import Called
from PIL import Image
from tiny_onnx import image as noise

from edgecap.apps.grounding import ground, rank_statements
from edgecap.apps.grounding.caption_scorer import CaptionScorer
from edgecap.apps.grounding.hide import MARGIN, hide
from edgecap.apps.grounding.phrases import as_sentence, readings
from edgecap.benchmarks.reference.expressions import (
    ambiguous_expressions,
    questions,
    unique_expressions,
)
from edgecap.bundle.grammar import BOXES, PLAIN
from edgecap.cli.app import main
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.models.loading import load
from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.graph import Name, Scene, Thing
from edgecap.reference.tokens import LANGUAGES
from edgecap.runtime import Captioner
from edgecap.runtime.backends.single import Arrays, FunctionSession
from edgecap.runtime.logits import log_softmax
from edgecap.runtime.mentions import determiner_end
from edgecap.runtime.scoring import token_scores

SQUARE, CIRCLE = Name("square", "red"), Name("circle", "blue")
# A red square on either side of a blue circle, and a green star above.
THINGS = (
    Thing(SQUARE, (8.0, 100.0, 48.0, 140.0)),
    Thing(CIRCLE, (88.0, 100.0, 128.0, 140.0)),
    Thing(SQUARE, (168.0, 100.0, 208.0, 140.0)),
    Thing(Name("star", "green"), (88.0, 8.0, 128.0, 48.0)),
)
SCENE = Scene(THINGS)


@pytest.fixture(scope="module")
def knowing() -> Captioner:
    return oracle.captioner(THINGS)


IMAGE = oracle.image(THINGS)


@pytest.mark.parametrize(
    ("phrase", "box", "name"),
    [
        ("the blue circle", THINGS[1].box, "The blue circle"),
        ("the red square left of the blue circle", THINGS[0].box, "The red square"),
        ("the red square to the right of the blue circle", THINGS[2].box, "The red square"),
        ("The red square is to the right of the blue circle.", THINGS[2].box, "The red square"),
        ("the green star", THINGS[3].box, "The green star"),
        ("  the   green star above the blue circle ", THINGS[3].box, "The green star"),
    ],
)
def test_what_a_phrase_means(
    knowing: Captioner, phrase: str, box: tuple[float, ...], name: str
) -> None:
    found = ground(knowing, IMAGE, phrase)
    assert found.box == box and found.name == name
    assert found.is_supported and found.log_likelihood_ratio > 1
    assert sum(r.probability for r in found.referents) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("lang", ["en", "de", "fr"])
def test_how_likely_the_article_is_says_nothing_of_the_thing(lang: str) -> None:
    shy = oracle.captioner(THINGS, indefinite=[CIRCLE])
    circle = for_language(lang).noun_phrase(CIRCLE, definite=True)
    found = ground(shy, IMAGE, circle, lang)
    assert found.box == THINGS[1].box and found.referents[0].probability > 0.9


@pytest.mark.parametrize(
    ("phrase", "lang", "end"),
    [
        ("the fox", "en", 4),
        ("The  fox", "en", 5),
        ("fox", "en", 0),
        ("the", "en", 3),
        ("", "en", 0),
        ("theatre", "en", 0),
        ("l'éléphant", "fr", 2),
        ("Der Hund", "de", 4),
        ("三角形", "zh", 0),  # 三 is three, and here no number
        ("赤い円", "ja", 0),
        ("the fox", "de", 0),
    ],
)
def test_where_an_article_ends(phrase: str, lang: str, end: int) -> None:
    assert determiner_end(phrase, lang) == end


def test_a_name_of_two_things_means_both(knowing: Captioner) -> None:
    found = ground(knowing, IMAGE, "the red square")
    assert {referent.box for referent in found.referents} == {THINGS[0].box, THINGS[2].box}
    assert [r.probability for r in found.referents] == pytest.approx([0.5, 0.5], abs=0.01)


def test_a_phrase_for_nothing_is_told_so(knowing: Captioner) -> None:
    assert not ground(knowing, IMAGE, "the yellow ring").is_supported


@pytest.mark.parametrize(
    ("phrase", "lang"), [("the blue circle", "fr"), ("asdf qwer", "en"), ("le cercle bleu", "en")]
)
def test_a_phrase_of_another_language_is_a_guess(
    knowing: Captioner, phrase: str, lang: str
) -> None:
    assert not ground(knowing, IMAGE, phrase, lang).is_supported


def test_of_untrue_statements_one_comes_first_and_none_is_plausible(knowing: Captioner) -> None:
    true = "The green star is above the blue circle."
    absent, other = (
        f"The yellow ring is to the {side} of the blue circle." for side in ("left", "right")
    )
    result = {one.statement: one for one in rank_statements(knowing, IMAGE, [true, absent, other])}
    assert result[true].above_threshold
    assert not result[absent].above_threshold and not result[other].above_threshold
    assert rank_statements(knowing, IMAGE, [absent, other])[0].share > 0.4


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_language_points(knowing: Captioner, lang: str) -> None:
    arguments = [*unique_expressions(SCENE, lang), *ambiguous_expressions(SCENE, lang)]
    assert [expression.namesakes for expression in arguments] == [1, 1, 2, 2]
    for expression in arguments:
        assert ground(knowing, IMAGE, expression.phrase, lang).box == expression.box


@pytest.mark.parametrize("lang", LANGUAGES)
def test_true_statements_are_told_from_false(knowing: Captioner, lang: str) -> None:
    pairs = list(questions(SCENE, lang))
    assert len(pairs) == 2  # one order, from either side
    for true, false in pairs:
        first, second = rank_statements(knowing, IMAGE, [false, true.rstrip(".。")], lang)
        assert (
            first.statement == true.rstrip(".。")
            and first.log_likelihood_ratio > second.log_likelihood_ratio
        )
        assert first.share + second.share == pytest.approx(1, abs=1e-5) and first.share > 0.9


def test_boxes_are_in_the_pixels_of_the_image(knowing: Captioner) -> None:
    large = Image.fromarray(IMAGE).resize((448, 448), Image.Resampling.NEAREST)
    box = ground(knowing, large, "the blue circle").box
    assert box == tuple(2 * edge for edge in THINGS[1].box)


def test_readings_put_the_copula_where_a_name_may_end() -> None:
    sentences = [way.sentence for way in readings("the dog left of the cat.", "en")]
    assert sentences[0] == "The dog left of the cat is"
    assert "The dog is left of the cat." in sentences and len(sentences) == 5
    assert "The is dog left of the cat." not in sentences  # an article names nothing
    assert [w.name for w in readings("犬の左側の赤い円", "ja")][1:] == ["左側の赤い円", "赤い円"]
    assert readings("犬の左側の赤い円", "ja")[2].sentence == "赤い円は犬の左側です。"
    stated = readings("Der Hund befindet sich links vom Kreis", "de")
    assert ("Der Hund", " befindet sich", " links vom Kreis.") in [
        (way.name, way.joint, way.rest) for way in stated
    ]


def test_of_an_added_language_all_of_a_phrase_is_the_name() -> None:
    (way,) = readings("고양이 왼쪽의 개.", "ko")
    assert (way.name, way.sentence, way.rest) == ("고양이 왼쪽의 개", "고양이 왼쪽의 개", "")
    assert as_sentence("개가 있다", "ko") == "개가 있다."


def test_an_added_language_points_and_answers(tmp_path: Path) -> None:
    import torch

    from edgecap.reference.config import CaptionerConfig
    from edgecap.reference.extension import Extension
    from edgecap.reference.model import weights
    from edgecap.reference.model.captioner import CaptionModel
    from edgecap.reference.train import extend_vocabulary

    torch.manual_seed(0)
    network = CaptionModel(CaptionerConfig(width=16, layers=1, heads=1, embedding=8))
    before = Extension(("en",))
    after = extend_vocabulary.extend(
        before, "ko", ["빨간 원. 개가 있다.", "고양이가 있다. 빨간 원."]
    )
    weights.save(
        extend_vocabulary.resize_embeddings(network, before, after),
        tmp_path / "ko.safetensors",
        {},
        after,
    )
    captioner = load(tmp_path / "ko.safetensors")
    found = ground(captioner, IMAGE, "빨간 원", "ko")
    assert np.isfinite([*found.box, found.log_likelihood_ratio]).all() and found.name == "빨간 원"
    judged = rank_statements(captioner, IMAGE, ["개가 있다", "고양이가 있다"], "ko")
    assert sum(one.share for one in judged) == pytest.approx(1, abs=1e-5)
    assert list(ambiguous_expressions(SCENE, "ko")) == []


class Tight(FunctionSession):
    """A session that runs out of memory for more than two images or texts."""

    def __init__(self, captioner: Captioner) -> None:
        self._session = captioner.graphs.session
        self.batch, self.largest = self._session.batch, 0
        captioner.graphs.session = self

    def run(self, name: str, inputs: Arrays) -> Arrays:
        size = len(next(iter(inputs.values())))
        if size > 2:
            raise MemoryError
        self.largest = max(self.largest, size)
        return self._session.run(name, inputs)


def test_grounding_takes_as_many_images_as_fit() -> None:
    captioner = oracle.captioner(THINGS)
    tight = Tight(captioner)
    found = ground(captioner, IMAGE, "the red square left of the blue circle")
    assert found.box == THINGS[0].box and tight.largest == 2
    true, false = next(questions(SCENE, "zh"))
    assert rank_statements(captioner, IMAGE, [false, true], "zh")[0].statement == true
    circle = for_language("zh").noun_phrase(CIRCLE, definite=True)
    assert ground(captioner, IMAGE, circle, "zh").box == THINGS[1].box


def test_texts_are_embedded_as_many_at_a_time_as_fit(tiny_bundle_made: Path) -> None:
    captioner = load(tiny_bundle_made)
    texts = [f"{'a dog ' * (i + 1)}" for i in range(5)]
    at_once = captioner.embed_texts(texts)
    tight = Tight(captioner)
    assert captioner.embed_texts(texts) == pytest.approx(at_once, abs=1e-6)
    assert tight.largest == 2 and captioner.embed_texts([]).shape == (0, 4)


def test_hiding_takes_a_thing_out_and_leaves_the_rest() -> None:
    box, kept = THINGS[0].box, (40.0, 120.0, 60.0, 130.0)
    bare = hide(IMAGE, [box], [kept])
    assert (oracle.image(THINGS) == IMAGE).all()  # the given model_input is not touched
    rows, columns = slice(100 - MARGIN, 140 + MARGIN), slice(8 - MARGIN, 48 + MARGIN)
    inside = np.zeros((224, 224), bool)
    inside[rows, columns] = True
    inside[120:130, 40:60] = False
    assert (bare[inside] == 127).all()
    assert (bare[~inside] == IMAGE[~inside]).all()
    assert hide(IMAGE, [(0.0, 0.0, 224.0, 224.0)], []).shape == IMAGE.shape


@pytest.mark.parametrize("batch", [None, 1])
def test_forced_scores_are_those_of_the_model(tiny_bundle_made: Path, batch: int | None) -> None:
    """Sequences of different lengths in one call, against one step after another by hand."""
    captioner = load(tiny_bundle_made)
    model_inputs = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    sequences = [[5, 9, 700, 800, 900], [5, 9, 42]]
    graphs = captioner.graphs
    graphs.batch = batch
    got = token_scores(graphs, graphs.encode(model_inputs), sequences)
    for b, ids in enumerate(sequences):
        one = graphs.encode(model_inputs[b : b + 1])
        rows = [(0, 0)] * 3 + [(0, 96), (0, 0)]
        k, v = np.pad(one["k"], rows), np.pad(one["v"], rows)  # [1,1,1,292,8]
        for place, token in enumerate(ids[:-1]):
            step = Called(graphs).decode(
                np.array([[token]], np.int32), np.array([place], np.int32), k, v
            )
            k[:, :, :, 196 + place], v[:, :, :, 196 + place] = (
                step.k[:, :, :, 0],
                step.v[:, :, :, 0],
            )
            expected = log_softmax(step.logits)[0, ids[place + 1]]
            assert got[b][place] == pytest.approx(expected, abs=1e-4)
        assert len(got[b]) == len(ids) - 1


@pytest.mark.parametrize(
    ("phrase", "lang", "code"),
    [
        ("", "en", "phrase.empty"),
        (" . ", "en", "phrase.empty"),
        ("the dog", "xx", "language.unknown"),
        ("the dog", "nl", "language.unknown"),
        ("the dog", "ko", "language.unknown"),
        ("빨간 원", "en", "text.no_words"),
        ("the dog " * 60, "en", "text.too_long"),
    ],
)
def test_phrases_that_cannot_be_asked(
    knowing: Captioner, phrase: str, lang: str, code: str
) -> None:
    with pytest.raises(InputError) as caught:
        ground(knowing, IMAGE, phrase, lang)
    assert caught.value.code == code


def test_a_model_whose_rule_knows_no_boxes_cannot_point(knowing: Captioner) -> None:
    grammar = replace(knowing.manifest.grammar, start={BOXES: "plain", PLAIN: "plain"})
    manifest = replace(knowing.manifest, grammar=grammar)
    other = Captioner(
        knowing.graphs, manifest, knowing.codec, "fake", tokenizer=lambda: knowing.tokenizer
    )
    speaker = CaptionScorer(other, "en")
    with pytest.raises(UnsupportedError) as caught:
        speaker.box_of(IMAGE, speaker.tokens("the blue circle"))
    assert caught.value.code == "ground.no_boxes"


def test_statements_that_cannot_be_weighed(knowing: Captioner) -> None:
    for given in (["The dog is here."], ["A dog.", "a dog"], []):
        with pytest.raises(InputError, match="statements.number"):
            rank_statements(knowing, IMAGE, given)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(noise(0, 60, 40))
    return path


def test_ground_from_the_command_line(
    photo: Path, tiny_bundle_made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, bundle = tmp_path / "drawn.png", str(tiny_bundle_made)
    arguments = ["ground", str(photo), "the dog left of the cat", "--bundle", bundle]
    assert main([*arguments, "--json", "-", "--draw", str(out)]) == 0
    result = json.loads(capsys.readouterr().out)
    for referent in result["referents"]:
        x0, y0, x1, y1 = referent["box"]
        assert 0 <= x0 <= x1 <= 60 and 0 <= y0 <= y1 <= 40
    with Image.open(out) as drawn:
        assert max(drawn.size) == 448
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("[")
    before = photo.read_bytes()
    assert main([*arguments, "--draw", str(photo)]) == 2
    assert "[draw.overwrites]" in capsys.readouterr().err and photo.read_bytes() == before


def test_ask_from_the_command_line(
    photo: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["rank", str(photo), "A dog.", "A cat.", "--bundle", str(tiny_bundle_made)]
    assert main([*arguments, "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)["statements"]
    assert {one["statement"] for one in result} == {"A dog.", "A cat."}
    assert result[0]["log_likelihood_ratio"] >= result[1]["log_likelihood_ratio"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("\n") == 2
    assert main([*arguments[:3], "--bundle", str(tiny_bundle_made)]) == 2
    assert "[statements.number]" in capsys.readouterr().err
