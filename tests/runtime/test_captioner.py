"""The public object: captions with boxes in the image's pixels, streams, maps, embeddings."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_session import FakeSession
from method_session import ImageCode, Step
from PIL import Image
from tiny_onnx import CONFIG

from edgecap.apps.explain.maps import trace_caption
from edgecap.bundle.schema1 import FUNCTIONS, identity_names
from edgecap.cli.app import main
from edgecap.core.errors import BundleError, InputError
from edgecap.reference.manifest import build_manifest
from edgecap.reference.shipped import shipped_tokenizer
from edgecap.reference.tokens import LOCATION_IDS
from edgecap.runtime import Captioner
from edgecap.runtime.loading import captioner_of
from edgecap.runtime.vocabulary import frame

TOKENIZER = shipped_tokenizer()
MANIFEST = build_manifest(
    replace(CONFIG, width=1),
    name="fake",
    model="fake",
    format="onnx",
    precision="fp32",
    functions={name: identity_names("x.onnx", name) for name in FUNCTIONS},
)


def ids(text: str) -> list[int]:
    return TOKENIZER.encode(text, allow_special=True)


def scripted(texts: Sequence[str], batch: int | None = None) -> Captioner:
    """A captioner that says texts[i] of an image whose red value is i."""
    scripts = [ids(text + "<eos>") for text in texts]
    session = FakeSession(scripts, CONFIG.vocabulary, patches=196, embedding=4, batch=batch)
    return captioner_of(session, MANIFEST, TOKENIZER, "fake")


def shown(red: int, width: int = 224, height: int = 224) -> np.ndarray:
    """A wide image's model_input begins with padding, so scripts are chosen by square ones."""
    return np.full((height, width, 3), (red, 0, 0), np.uint8)


GROUNDED = "A dog<loc_00><loc_01><loc_20><loc_30> and two red circles"
GROUNDED += "<loc_10><loc_10><loc_20><loc_20><loc_30><loc_30><loc_56><loc_56>."
GROUNDED += " The dog is to the left of the red circles."


@pytest.mark.parametrize("batch", [None, 1])
def test_a_grounded_caption(batch: int | None) -> None:
    (caption,) = scripted([GROUNDED], batch).caption([shown(0)])
    assert caption.raw == GROUNDED
    assert caption.text == ("A dog and two red circles. The dog is to the left of the red circles.")
    dog, circles = caption.mentions
    assert (dog.phrase, dog.boxes) == ("A dog", ((0, 4, 80, 120),))
    assert circles.phrase == "two red circles"
    assert circles.boxes == ((40, 40, 80, 80), (120, 120, 224, 224))
    assert [caption.text[slice(*m.span)] for m in caption.mentions] == ["A dog", "two red circles"]
    assert len(circles.scores) == 2
    assert 0 < circles.scores[0] < 1
    assert (caption.complete, caption.malformed, caption.lang) == (True, 0, "en")
    assert len(caption.tokens) == len(caption.scores) == len(ids(GROUNDED))


def test_boxes_are_in_the_pixels_of_the_image() -> None:
    whole = "A dog<loc_00><loc_00><loc_56><loc_56>."
    (caption,) = scripted([whole]).caption([shown(0, 448, 448)])
    assert caption.mentions[0].boxes == ((0, 0, 448, 448),)


@pytest.mark.parametrize(
    ("lang", "raw", "phrases"),
    [
        ("es", "La imagen muestra un perro{box} y dos círculos rojos{box}{box}.",
         ["un perro", "dos círculos rojos"]),
        ("fr", "Une image avec un chien{box}, un chat{box} et une maison{box}.",
         ["un chien", "un chat", "une maison"]),
        ("de", "Ein Bild mit einem Hund{box} und zwei Katzen{box}{box}.",
         ["einem Hund", "zwei Katzen"]),
        ("it", "Un'ape{box} e un cane{box}.", ["Un'ape", "un cane"]),
        ("pt", "Um cão{box} e uma casa{box}.", ["Um cão", "uma casa"]),
        ("zh", "图中有一只狗{box}、两只猫{box}{box}和一个红色的圆形{box}。",
         ["一只狗", "两只猫", "一个红色的圆形"]),
        ("ja", "2匹の犬{box}{box}と赤い円{box}。", ["2匹の犬", "赤い円"]),
        ("en", "An image of a dog{box}.", ["a dog"]),
    ],
)  # fmt: skip
def test_phrases_in_every_language(lang: str, raw: str, phrases: list[str]) -> None:
    raw = raw.format(box="<loc_00><loc_01><loc_20><loc_30>")
    (caption,) = scripted([raw]).caption([shown(0)], lang=lang)
    assert [mention.phrase for mention in caption.mentions] == phrases
    assert caption.raw == raw


def test_without_the_rule_malformed_boxes_are_counted_and_left_out() -> None:
    raw = "A dog<loc_05><loc_05><loc_05><loc_09>, a cat<loc_01><loc_02><loc_03>."
    (caption,) = scripted([raw]).caption([shown(0)], constrained=False)
    assert (caption.malformed, caption.mentions) == (2, ())
    assert caption.text == "A dog, a cat."


class Places(FakeSession):
    """Prefers a location to all else, later ones more, and of the rest a word."""

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        logits = np.zeros((1, self.vocabulary), np.float32)  # [1,V]
        logits[0, ids("dog")] = 1
        logits[0, LOCATION_IDS] = np.arange(len(LOCATION_IDS)) + 2
        row = np.zeros((1, 1, 1, 1, 1), np.float32)  # [1,1,1,1,1]
        return Step(logits, row, row, np.ones((1, self.patches), np.float32))


@pytest.mark.parametrize(
    ("options", "places"),
    [
        ({}, True),
        ({"style": "shape"}, True),
        ({"style": "plain"}, False),
        ({"grounded": False}, False),
        ({"style": "shape", "grounded": False}, False),
    ],
)
def test_where_no_boxes_are_wanted_no_location_is_written(options: dict, places: bool) -> None:
    session = Places([[]], CONFIG.vocabulary, patches=196, embedding=4)
    captioner = captioner_of(session, MANIFEST, TOKENIZER, "fake")
    told = [captioner.caption(shown(0), **options)[0]]
    told += [captioner.attention(shown(0), **options).caption]
    if options == {"style": "plain"}:  # `explain` says what `caption` says
        told += [trace_caption(captioner, shown(0), **options).attention.caption]
    assert [not set(LOCATION_IDS).isdisjoint(one.tokens) for one in told] == [places] * len(told)


def test_images_keep_their_order_over_batches() -> None:
    texts = [f"A dog {'and a cat ' * (i % 5)}{i}." for i in range(19)]
    captions = scripted(texts).caption([shown(i) for i in range(19)], grounded=False)
    assert [caption.text for caption in captions] == texts
    assert {caption.style for caption in captions} == {"plain"}


def test_a_single_image_needs_no_list() -> None:
    captioner = scripted(["A dog."])
    assert captioner.caption(shown(0))[0].text == "A dog."
    assert captioner.caption(shown(0)[None])[0].text == "A dog."
    assert captioner.caption([]) == []
    assert captioner.embed_images([]).shape == (0, 4)
    assert captioner.embed_texts([]).shape == (0, 4)


@pytest.mark.parametrize("text", [GROUNDED, "两只猫𓀀和一个红色的圆形。", "A dog."])
def test_a_stream_adds_up_to_the_caption(text: str) -> None:
    pieces = list(scripted([text]).stream(shown(0), grounded=True))
    assert "".join(pieces) == text
    assert len(pieces) > 1
    assert all(pieces)


def test_attention_covers_every_token_once() -> None:
    found = scripted([GROUNDED]).attention(shown(0))
    spans = [word.tokens for word in found.words]
    assert spans[0][0] == 0
    assert spans[-1][1] == len(found.caption.tokens)
    assert all(a[1] == b[0] for a, b in zip(spans, spans[1:], strict=False))
    words = [word.text for word in found.words if not word.is_box]
    assert words[:5] == ["A", "dog", "and", "two", "red"]
    boxes = [word for word in found.words if word.is_box]
    assert len(boxes) == 3
    assert all(word.map.shape == (14, 14) for word in found.words)
    assert boxes[0].map.sum() == pytest.approx(1)


def test_words_of_several_tokens_stay_together() -> None:
    found = scripted(["Zwölfelefantenhüte 两只"]).attention(shown(0), grounded=False)
    assert "".join(word.text for word in found.words) == "Zwölfelefantenhüte两只"
    assert found.words[0].text == "Zwölfelefantenhüte"
    assert len(found.words) >= 3  # Chinese: a word per token


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"lang": "xx"}, "language.unknown"),
        ({"lang": "<eos>"}, "language.unknown"),
        ({"style": "baroque"}, "style.unknown"),
        ({"beams": 0}, "caption.beams"),
        ({"beams": 1000}, "caption.beams"),
        ({"max_length": 0}, "caption.length"),
        ({"max_length": 95}, "caption.length"),
    ],
)
def test_bad_options_are_refused_before_any_work(options: dict, code: str) -> None:
    captioner = scripted(["A dog."])
    with pytest.raises(InputError) as caught:
        captioner.caption(["there is no such image"], **options)
    assert caught.value.code == code


def test_unknown_languages_are_told_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"en, es, fr, de, it, pt, zh, ja"):
        scripted(["A dog."]).caption(shown(0), lang="english")


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (["dog " * 200], "text.too_long"),
        ([""], "text.empty"),
        (["  \n"], "text.empty"),
        ([7], "text.type"),
    ],
)
def test_texts_that_cannot_be_embedded(texts: list, code: str) -> None:
    with pytest.raises(InputError) as caught:
        scripted(["A dog."]).embed_texts(texts)
    assert caught.value.code == code


def test_a_text_over_the_limit_is_told_the_limit_and_one_below_is_taken() -> None:
    captioner = scripted(["A dog."])
    with pytest.raises(InputError, match=r"95 tokens; at most 94 fit"):
        captioner.embed_texts([" ".join(["dog"] * 95)])
    assert captioner.embed_texts([" ".join(["dog"] * 94)]).shape == (1, 4)
    assert captioner.embed_texts("dog").shape == (1, 4)


def test_texts_are_framed() -> None:
    around = scripted([]).manifest.texts
    assert around is not None
    tokens, length = frame(TOKENIZER, around, 96, ["a dog", "a red circle <eos>"])
    words = ids("a dog")
    named = TOKENIZER.ids
    assert tokens[0, : length[0]].tolist() == [named["<text>"], *words, named["<eos>"]]
    assert (tokens[0, length[0] :] == named["<pad>"]).all()
    assert tokens[1].tolist().count(named["<eos>"]) == 1


def test_threads_do_not_disturb_each_other() -> None:
    texts = [f"A dog {i}." for i in range(8)]
    captioner = scripted(texts)
    said: dict[int, list[str]] = {}

    def work(i: int) -> None:
        said[i] = [captioner.caption(shown(i), grounded=False)[0].text for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {i: [texts[i]] * 5 for i in range(8)}


def test_special_tokens_are_never_generated_under_the_rule() -> None:
    # The script wants <text>; where the rule forbids it <eos> is the first of what is left.
    captioner = scripted(["A<text>"])
    assert captioner.caption(shown(0))[0].raw == "A"
    assert captioner.caption(shown(0), constrained=False)[0].raw == "A<text>"


def test_a_tokenizer_larger_than_the_model_is_refused() -> None:
    interface = replace(MANIFEST.interface, dims=MANIFEST.interface.dims | {"V": 4000})
    with pytest.raises(Exception, match=r"tokenizer\.size"):
        captioner_of(FakeSession([], 4000), replace(MANIFEST, interface=interface), TOKENIZER, "x")


def test_vectors_that_are_no_numbers_are_refused() -> None:
    class Broken(FakeSession):
        def encode_image(self, image: np.ndarray) -> ImageCode:
            code = super().encode_image(image)
            return code._replace(embedding=code.embedding * np.float32("nan"))

        def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
            return super().encode_text(tokens, length) * np.float32("inf")

    session = Broken([], CONFIG.vocabulary, patches=196, embedding=4)
    captioner = captioner_of(session, MANIFEST, TOKENIZER, "fake")
    with pytest.raises(BundleError, match="NaN or infinity"):
        captioner.embed_images(shown(0))
    with pytest.raises(BundleError, match="NaN or infinity"), np.errstate(invalid="ignore"):
        captioner.embed_texts("a dog")


def test_control_characters_of_a_model_reach_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = scripted(["A dog\x1b]0;owned\x07<loc_00><loc_01><loc_20><loc_30>."])
    monkeypatch.setattr("edgecap.models.loading.load", lambda *_, **__: said)
    Image.fromarray(shown(0)).save(tmp_path / "a.png")
    assert main(["caption", str(tmp_path / "a.png"), "--bundle", "S"]) == 0
    shown_text = capsys.readouterr().out
    assert "A dog\ufffd]0;owned\ufffd" in shown_text and "\x1b" not in shown_text
