"""Regions of schema 2: ids with places and marks, read by each codec."""

from __future__ import annotations

import json
import random

from files import Topic

from edgecap.bundle.regions_spec import regions_spec_from_json
from edgecap.bundle.text_spec import text_spec_from_json
from edgecap.runtime.image_processing import Placement
from edgecap.runtime.regions import Input, read_regions
from edgecap.runtime.text import TextCodec

SCALE = 16  # scores are whole numbers / 16
MARKS = {"phrase": 2, "end_phrase": 3, "object": 4, "end_object": 5, "delimiter": 6}
FIRST, PLACES = 40, 16


def regions2() -> Topic:
    """Ids with places and marks, read by each codec; `spans` are bytes of the UTF-8 of `text`."""
    generator = random.Random(9)
    words = ["a", "dog", ".", ",", ";", "é", "犬", "and", "(", "、", " ", "two"]
    tokens = ["<s>", "</s>", *MARKS, *(f"▁{w}" for w in words), *words]
    tokens += [f"<0x{b:02X}>" for b in (0xE7, 0x8A, 0xAC, 0x41)]
    tokens += [f"x{i}" for i in range(FIRST - len(tokens))] + [f"<p{i}>" for i in range(PLACES)]
    text_spec = {"family": "byte_fallback", "strip": 1, "special": [0, 1], "tokens": tokens}
    codec = TextCodec(text_spec_from_json(text_spec))
    cases = []
    for n in range(240):
        name = ("edges4", "cells2", "loc1000", "loc1024")[n % 4]
        marks = MARKS if name == "cells2" else {}
        spec = {"codec": name, "first": FIRST, "count": PLACES, "marks": marks}
        if name == "edges4":
            spec["bin_px"] = 4
        ids: list[int] = []
        for _ in range(generator.randint(0, 5)):
            ids += _chunk(generator, name, len(tokens))
        scores = [-generator.randint(0, 40) / SCALE for _ in ids]
        size = (generator.randint(40, 80), generator.randint(40, 80))
        placement = Placement(*(generator.randint(1, 300) for _ in range(2)), -3, 5, 50, 61)
        made = regions_spec_from_json(spec)
        reading = read_regions(ids, codec, made, Input(size, placement), scores)
        places = [place for r in reading.regions for place in (r.start, r.end)]
        ends = [len(reading.text[:place].encode()) for place in places]
        p = placement
        cases.append(
            {
                "spec": spec,
                "ids": ids,
                "scores": scores,
                "size": list(size),
                "placement": [p.width, p.height, p.left, p.top, p.scaled_width, p.scaled_height],
                "text": reading.text,
                "spans": [ends[i : i + 2] for i in range(0, len(ends), 2)],
                "boxes": [[list(box) for box in r.boxes] for r in reading.regions],
                "box_scores": [list(r.scores) for r in reading.regions],
                "malformed": reading.malformed,
            }
        )
    return Topic("regions2", file=json.dumps(text_spec, ensure_ascii=False), cases=cases)


def _chunk(generator: random.Random, name: str, size: int) -> list[int]:
    """Some words, and places behind or before them, well formed more often than not."""
    words = [generator.randrange(7, FIRST) for _ in range(generator.randint(0, 4))]
    count = generator.choice([4, 4, 4, 8, 3, 5, 0])
    places = [FIRST + generator.randrange(PLACES) for _ in range(count)]
    if name != "cells2" or generator.random() < 0.2:
        return places + words if name == "loc1024" else words + places
    pairs = [FIRST + generator.randrange(PLACES) for _ in range(2)]
    for _ in range(generator.randrange(3)):
        pairs += [6, *(FIRST + generator.randrange(PLACES) for _ in range(2))]
    if generator.random() < 0.2:
        pairs.pop(generator.randrange(len(pairs)))
    named = [2, *words, 3] if generator.random() < 0.7 else words
    return [*named, 4, *pairs, 5]
