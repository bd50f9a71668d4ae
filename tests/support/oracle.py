"""A language model that knows what is in an image, for as long as it can be seen there.

An image is a grey model_input with plain rectangles; a thing is there while the middle of its box
shows its colour, so taking it out of the image takes it out of what is said. The next token is one
of those with which a sentence goes on: true ones are equally likely, and false ones that the
grammar could say of the same things a thousandth as likely.

An embedding says how many things of each colour there are.

Letters as in bundle/interface.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import permutations

import numpy as np
from method_session import ImageCode, MethodSession, Step

from edgecap.bundle.schema1 import FUNCTIONS, identity_names
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.manifest import build_manifest
from edgecap.reference.scenes.describe import mentions
from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.graph import Name, Relation, Scene, Statement, Thing
from edgecap.reference.scenes.relations import relations
from edgecap.reference.shipped import shipped_tokenizer
from edgecap.reference.tokens import EOS_ID, LANGUAGES, STYLES
from edgecap.runtime import Captioner
from edgecap.runtime.loading import captioner_of

CONFIG = CaptionerConfig(width=8, layers=1, heads=1, embedding=4)
RGB = {"red": (230, 20, 20), "blue": (20, 20, 230), "green": (20, 200, 20)}
ABSENT = Name("ring", "yellow")  # can be said and is never there
# Of other images, whatever article comes first: sooner said than what is false of this one.
ELSEWHERE = {Name(noun) for noun in ("dog", "cat", "house", "elephant")}
STRANGE = -3.0
TOKENIZER = shipped_tokenizer()
FALSE, UNLIKELY = -7.0, -20.0  # log-weights of a false sentence, and of what is none


def image(things: Sequence[Thing]) -> np.ndarray:
    """uint8 [224,224,3]: every thing a plain rectangle in its colour."""
    model_input = np.full((224, 224, 3), 127, np.uint8)
    for thing in things:
        x0, y0, x1, y1 = map(int, thing.box)
        model_input[y0:y1, x0:x1] = RGB[thing.name.color]
    return model_input


class OracleSession(MethodSession):
    """Sees those of `things` that an image shows.

    Of a name in `indefinite` that is alone in an image it says "a …", and hardly ever "the …".
    """

    def __init__(self, things: Sequence[Thing], indefinite: Sequence[Name] = ()) -> None:
        self.things, self.indefinite = tuple(things), tuple(indefinite)

    def encode_image(self, image: np.ndarray) -> ImageCode:
        seen = [
            sum(self._shows(model_input, i) << i for i in range(len(self.things)))
            for model_input in image
        ]
        k = np.broadcast_to(
            np.array(seen, np.float32)[None, :, None, None, None], (1, len(image), 1, 196, 8)
        )
        names = [[t.name for i, t in enumerate(self.things) if one >> i & 1] for one in seen]
        return ImageCode(k.copy(), k.copy(), _embedded([[n.color for n in one] for one in names]))

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        logits = np.full((len(token), CONFIG.vocabulary), UNLIKELY, np.float32)  # [B,V]
        for b in range(len(token)):
            before = k[0, b, 0, 196 : 196 + int(position[b]), 0].astype(int).tolist()
            if position[b] == 0:
                continue  # the language alone: nobody asks what follows
            lang, style, *said = [*before, int(token[b, 0])]
            for sentence, weight in self._sentences(int(k[0, b, 0, 0, 0]), lang, style):
                if list(sentence[: len(said)]) == said and len(sentence) > len(said):
                    following = sentence[len(said)]
                    logits[b, following] = np.logaddexp(logits[b, following], weight)
        rows = np.repeat(token.astype(np.float32)[None, :, None, :, None], 8, -1)  # [1,B,1,1,8]
        return Step(logits, rows, rows, np.full((len(token), 196), 1 / 196, np.float32))

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        texts = (TOKENIZER.decode(row[:end]) for row, end in zip(tokens, length, strict=True))
        return _embedded([text.split() for text in texts])

    def _shows(self, model_input: np.ndarray, i: int) -> bool:
        x0, y0, x1, y1 = map(int, self.things[i].box)
        middle = model_input[(y0 + y1) // 2, (x0 + x1) // 2]
        return tuple(middle.tolist()) == RGB[self.things[i].name.color]

    def _counted(self, scene: Scene, lang: str) -> Iterator[str]:
        grammar = for_language(lang)
        if len(scene.things) == 1 and scene.things[0].name in self.indefinite:
            yield _capital(grammar.noun_phrase(scene.things[0].name)) + grammar.rules.stop

    @cache  # noqa: B019  # sessions of a test are few
    def _sentences(self, seen: int, lang: int, style: int) -> list[tuple[list[int], float]]:
        """Tokens of each sentence and its weight, a log-probability but for a constant."""
        scene = Scene(tuple(t for i, t in enumerate(self.things) if seen >> i & 1))
        language, wanted = (TOKENIZER.tokens[token].strip("<>") for token in (lang, style))
        assert language in LANGUAGES and wanted in STYLES
        names = {ABSENT, *(thing.name for thing in self.things)}
        weighed = [
            *((text, 0.0) for text in _true(scene, language, wanted)),
            *((text, -FALSE * 2) for text in self._counted(scene, language)),
            *((text, FALSE) for text in _sayable(names, language) if wanted == "relate"),
            *((text, STRANGE) for text in _alone(ELSEWHERE, language) if wanted == "relate"),
        ]
        return [
            ([*TOKENIZER.encode(text, allow_special=True), EOS_ID], weight)
            for text, weight in weighed
        ]


def _embedded(words: Sequence[Sequence[str]]) -> np.ndarray:
    """f32 [N,4] of norm 1: how often each colour is among the words, and a little of nothing."""
    counts = [[*(row.count(color) for color in RGB), 0.1] for row in words]
    return np.array(counts, np.float32) / np.linalg.norm(counts, axis=1, keepdims=True)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _true(scene: Scene, lang: str, style: str) -> Iterator[str]:
    """Sentences that are true of a scene."""
    grammar = for_language(lang)
    if style == "grounded":
        if scene.things:
            yield grammar.render(Statement(mentions(scene)), grounded=True)
        return
    for relation in relations(scene):
        for template in range(2):
            yield grammar.render(Statement(relation=relation), template)
    yield from _alone({thing.name for thing in scene.things}, lang)


def _sayable(names: set[Name], lang: str) -> Iterator[str]:
    """Every sentence about the names, true or not."""
    for a, b in permutations(sorted(names), 2):
        for kind in ("left", "right", "above", "below"):
            for template in range(2):
                statement = Statement(relation=Relation(kind, a, (b,)))
                yield for_language(lang).render(statement, template)
    yield from _alone(names, lang)


def _alone(names: set[Name], lang: str) -> Iterator[str]:
    grammar = for_language(lang)
    for name in sorted(names):
        phrase = grammar.noun_phrase(name, definite=True)
        yield _capital(phrase) + grammar.rules.stop


def captioner(things: Sequence[Thing], indefinite: Sequence[Name] = ()) -> Captioner:
    manifest = build_manifest(
        CONFIG,
        name="oracle",
        model="oracle",
        format="onnx",
        precision="fp32",
        functions={name: identity_names("x.onnx", name) for name in FUNCTIONS},
    )
    return captioner_of(OracleSession(things, indefinite), manifest, TOKENIZER, "oracle")
