"""Tokens to words, phrases and boxes, by the kept tokenizer.

`tokens`: what was generated, `<eos>` not included; `scores`: log-probabilities. `spans` count code
points of the text, `bytes` bytes of its UTF-8. Boxes are in px of the model's input.
"""

from __future__ import annotations

import re

from files import Topic
from texts import TOKENIZER, tokenizer_bytes

from edgecap.bundle.regions_spec import RegionsSpec
from edgecap.runtime.captions import read
from edgecap.runtime.preprocess import letterbox
from edgecap.runtime.regions import Input
from edgecap.runtime.text.from_tokenizer import codec_of
from edgecap.runtime.tokenizer import Tokenizer

BIN_PX, BINS, SIDE = 4, 57, 224
# A box is written [x0 y0 x1 y1].
TEXTS = [
    ("en", "A dog[1 2 30 40] and two red circles[3 4 10 12][20 4 30 12]."),
    ("en", "The dog is to the left of the red circle[0 0 56 56]."),
    ("en", "This image shows a dog[1 2 3 4], an owl[5 6 7 8] and a cat[9 9 12 12]."),
    ("en", "dog[1 2 3 4] cat[5 6 7 8]"),
    ("en", "[1 2 3 4] a dog"),
    ("en", "a dog [1 2 3 4] ."),
    ("en", "a dog[9 9 3 4] and a cat[1 1 1 5]."),
    ("en", "a dog[1 2 3] and a cat[1 2 3 4 5]."),
    ("en", "And a dog[1 2 3 4]. And[1 2 3 4] and and a[1 2 3 4]"),
    ("en", 'Two dogs, three cats[1 2 3 4]; Seven "owls"[1 2 3 4] (a car[1 2 3 4])'),
    ("en", ""),
    ("en", "no box at all."),
    ("xx", "a language that nobody knows[1 2 3 4], so[1 2 3 4]."),
    (
        "es",
        "Un perro[1 2 3 4], dos gatos[5 6 7 8][9 9 10 10] y una casa[1 1 2 2]. E iglesia[1 2 3 4]",
    ),
    ("fr", "Un chien[1 2 3 4] et l'éléphant[5 6 7 8] et L’âne[1 2 3 4]. Deux œufs[1 2 3 4]"),
    ("fr", "À gauche de l'école[1 2 3 4], ÉTÉ une ÎLE[1 2 3 4]"),
    (
        "de",
        "Ein Hund[1 2 3 4] und ein Würfel[5 6 7 8]; neben dem Hund[1 2 3 4] ZWEI Äpfel[1 2 3 4]",
    ),
    ("it", "Un'ape[1 2 3 4] e due cani[5 6 7 8], ed uno gnomo[1 2 3 4] Un’oca[1 1 2 2]."),
    ("pt", "Três maçãs[1 2 3 4] e o cão[5 6 7 8]. TRÊS CÃES[1 2 3 4]"),
    ("nl", "een hond[1 2 3 4] en twee katten[1 2 3 4]"),
    ("zh", "一只狗[1 2 3 4]、两只猫[5 6 7 8]和一个红色的三角形[9 9 10 10]。图中有一只鸟[1 2 3 4]"),
    ("zh", "狗[1 2 3 4]和猫[1 2 3 4]及鸟[1 2 3 4]在七个三角形[1 2 3 4]"),
    ("ja", "ここに犬[1 2 3 4]と2匹の猫[5 6 7 8]がいます。やと赤い円[1 2 3 4]、とここに鳥[1 2 3 4]"),
    ("ko", "그림에 강아지[1 2 3 4] 그리고 원[5 6 7 8]. 여기에 고양이[1 2 3 4]"),
]


def regions() -> Topic:
    tokenizer = Tokenizer(tokenizer_bytes())
    first = tokenizer.id_of("<loc_00>")
    spec = RegionsSpec("edges4", first, BINS, BIN_PX)
    view, codec = Input((SIDE, SIDE), letterbox(SIDE, SIDE, SIDE)), codec_of(tokenizer)
    topic = Topic(
        "regions",
        tokenizer=TOKENIZER,
        first="<loc_00>",
        bins=BINS,
        bin_px=BIN_PX,
        cases=(cases := []),
    )
    for number, (language, text) in enumerate(TEXTS):
        named = re.sub(
            r"\[([\d ]+)\]", lambda m: "".join(f"<loc_{int(n):02d}>" for n in m[1].split()), text
        )
        tokens = tokenizer.encode(named, allow_special=True)
        if named.startswith("<loc"):  # the space that encode adds
            tokens = tokens[tokens.index(first + 1) :]
        scores = [-((i * 7 + number) % 13) / 8 for i in range(len(tokens))]
        reading = read(tokens, scores, codec, spec, view, language)
        groups = [
            {
                "phrase": reading.phrase(g),
                "span": [g.start, g.end],
                "bytes": [len(reading.text[:n].encode()) for n in (g.start, g.end)],
                "boxes": [list(box) for box in g.boxes],
                "scores": [round(score, 9) for score in g.scores],
            }
            for g in reading.regions
        ]
        cases.append(
            {
                "lang": language,
                "tokens": tokens,
                "scores": scores,
                "text": reading.text,
                "malformed": reading.malformed,
                "groups": groups,
            }
        )
    return topic
