"""Schema 2: image specs, text codecs, rules of generation, beams, regions and manifests.

Scores and logits are whole numbers / 16, so that every language reads the same float32. Letters:
h, w size of the model's input in px; V vocabulary; R rows of the scripted table.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from files import Topic, noise

from edgecap.bundle.generation_spec import generation_spec_from_json
from edgecap.bundle.image_spec import image_spec_from_json
from edgecap.bundle.regions_spec import regions_spec_from_json
from edgecap.bundle.text_spec import text_spec_from_json
from edgecap.core.errors import BundleError
from edgecap.core.typed import parse
from edgecap.runtime.beams import search
from edgecap.runtime.image_processing import Placement, process
from edgecap.runtime.logits import apply_rules
from edgecap.runtime.regions import Input, read_regions
from edgecap.runtime.rules import Rules
from edgecap.runtime.text import TextCodec
from edgecap.runtime.text.families import byte_characters

SCALE = 16
V, R = 24, 17
KEPT = 1024  # bytes of an output that is kept whole; of longer ones the CRC-32 alone

FITS: list[dict[str, Any]] = [
    {"size": [24, 24], "fit": "stretch"},
    {"size": [20, 28], "fit": "stretch", "crop": [17, 31]},
    {"size": [24, 18], "fit": "contain", "fill": 77},
    {"size": [20, 20], "fit": "cover", "crop": [20, 20]},
    {"size": [21, 21], "fit": "cover", "crop": [16, 19], "channels": "BGR"},
    {"size": [15, 15], "fit": "cover", "crop": [19, 24], "fill": 3},
    {"size": [30, 22], "fit": "thumbnail", "fill": 255},
    {"size": [32, 32], "fit": "longest_edge", "crops": {"side": 24, "split": False}},
    {"size": [20, 20], "fit": "longest_edge", "crops": {"side": 24, "split": True}},
]
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
SIZES = [(1, 1), (24, 24), (61, 17), (13, 70), (40, 33), (7, 5)]


def image_specs() -> Topic:
    """Images of noise (alpha where `channels` is 4) to the input, and where they lie in it."""
    topic = Topic("image_specs", cases=(cases := []))
    for n, (w, h) in enumerate(SIZES):
        for m, fit in enumerate(FITS):
            spec = {**fit, "filter": FILTERS[(n + m) % len(FILTERS)]}
            channels = 4 if (n + m) % 4 == 3 else 3
            if channels == 4 and m % 2:
                spec["background"] = 100
            seed = 1000 + n * 50 + m
            done = process(noise(w, h, channels, seed), image_spec_from_json(spec))
            (pixels,) = done.pixels  # [h,w,3]
            kept = topic.keep(pixels) if pixels.size <= KEPT else None
            crc = topic_crc(pixels) if kept is None else kept
            p = done.placement
            placed = [p.left, p.top, p.scaled_width, p.scaled_height]
            image = {"width": w, "height": h, "channels": channels, "seed": seed}
            cases.append({"spec": spec, **image, "placement": placed, **crc})
    return topic


def topic_crc(array: np.ndarray) -> dict[str, int]:
    """The CRC-32 alone."""
    import zlib

    return {"crc32": zlib.crc32(np.ascontiguousarray(array).tobytes())}


# ---- Text ----

_WORDS = [
    "a",
    "the",
    "dog",
    "cat's",
    "n't",
    "'m",
    "'s",
    "do",
    "not",
    ".",
    ",",
    "!",
    "'",
    "##",
    "##s",
    "##n't",
    "é",
    "犬",
    "▁",
    "▁a",
    "▁the",
    "▁▁",
    ".",
    "'ve",
    "'re",
]


def _tokens(family: str, generator: random.Random) -> list[str | None]:
    tokens: list[str | None] = ["<s>", "</s>", *dict.fromkeys(_WORDS), "", " ", " .", "n", "\n"]
    if family == "byte_fallback":
        tokens += [f"<0x{byte:02X}>" for byte in (*range(0x40, 0x48), *range(0x80, 0x100, 3), 0xE2)]
        tokens += ["<0xe2>", "<0x4>", "<0xGG>"]
    if family == "byte_level":
        table = {byte: character for character, byte in byte_characters().items()}
        tokens += [*dict.fromkeys(table[byte] for byte in range(0, 256, 5))]
        for _ in range(30):
            text = generator.choice(["é", "犬", "🐕", " dog", " .", "ab"]).encode()
            tokens.append("".join(table[b] for b in text[: generator.randint(1, len(text))]))
    return [*tokens, None, "last"]


def codecs() -> Topic:
    """For each codec lists of ids, and the pieces that `push` and `finish` give for each of them.

    `clean`: special ids left out; else they are written as well.
    """
    generator = random.Random(5)
    variants: list[dict[str, Any]] = [
        {"family": "byte_fallback"},
        {"family": "byte_fallback", "strip": 2, "clean_up": True},
        {"family": "byte_level", "clean_up": True},
        {"family": "byte_level"},
        {"family": "wordpiece", "clean_tokens": True},
        {"family": "wordpiece", "clean_up": True},
        {"family": "metaspace"},
        {"family": "metaspace", "drop_first": False, "clean_up": True},
    ]
    listed: list[dict[str, Any]] = []
    for variant in variants:
        spec = {**variant, "special": [0, 1], "tokens": _tokens(variant["family"], generator)}
        codec = TextCodec(text_spec_from_json(spec))
        texts = []
        for n in range(60):
            ids = [generator.randrange(len(codec) + 1) for _ in range(generator.randint(0, 14))]
            stream = codec.stream(skip_special=n % 2 == 0)
            pieces = [*map(stream.push, ids), stream.finish()]
            texts.append({"clean": n % 2 == 0, "ids": ids, "pieces": pieces})
        # A JSON text, as a bundle has it.
        listed.append({"file": json.dumps(spec, ensure_ascii=False), "texts": texts})
    return Topic("codecs", codecs=listed, refusals=_codec_refusals())


def _codec_refusals() -> list[dict[str, Any]]:
    good: dict[str, Any] = {"family": "wordpiece", "special": [0], "tokens": ["a", "b"]}
    changes: list[dict[str, Any]] = [
        {"family": "unigram"},
        {"family": 1},
        {"tokens": []},
        {"tokens": "ab"},
        {"tokens": ["a", 1]},
        {"tokens": ["a", "x" * 4097]},
        {"special": [1, 0]},
        {"special": [2]},
        {"special": [-1]},
        {"special": 0},
        {"space": ""},
        {"space": "ab"},
        {"prefix": "#" * 17},
        {"strip": 17},
        {"strip": -1},
        {"strip": 1.5},
        {"clean_up": 1},
        {"unknown": 1},
        {"tokens": ["a", "\ud800"]},
    ]
    refused = []
    for change in changes:
        text = json.dumps({**good, **change})
        refused.append({"file": text, "code": _code(lambda v: text_spec_from_json(v), text)})
    return refused


def _code(read: Callable[[Any], Any], text: str) -> str | None:
    try:
        read(parse(text.encode(), "file"))
    except BundleError as error:
        return error.code
    return None


# ---- Generation ----


def _specs(generator: random.Random) -> list[dict[str, Any]]:
    specs = []
    for n in range(48):
        spec: dict[str, Any] = {
            "begin": [generator.randrange(V) for _ in range(1 + n % 3)],
            "eos": [[1], [], [1, 2]][n % 3],
            "max_new_tokens": 1 + n % 9,
        }
        if n % 2:
            spec["no_repeat_ngram"] = 1 + n % 4
            spec["prefix"] = [generator.randrange(V + 9) for _ in range(n % 5)]
        if n % 3:
            spec["repetition_penalty"] = (0.5, 1.25, 3.0)[n % 3]
        if n % 5 == 0:
            spec["suppress"] = [3, 5, 7]
            spec["suppress_first"] = [1, 9]
            spec["suppress_first_at"] = n % 2
        if n % 7 == 0:
            spec["forced_first"] = 11
            spec["forced_last"] = [1]
        spec["min_new_tokens"] = min(n % 4, spec["max_new_tokens"])
        spec["beams"] = 1 + n % 5
        spec["length_penalty"] = (1.0, 0.0, -1.0, 2.0)[n % 4]
        spec["early_stopping"] = ("heuristic", "first", "never")[n % 3]
        specs.append(spec)
    return specs


def logits_rules() -> Topic:
    """Scores [V] / 16 of the next token after `generated`, and which are what afterwards.

    `ruled`: float32 of the scores under the rules, null for minus infinity.
    """
    generator = random.Random(6)
    cases = []
    for spec in _specs(generator):
        made = generation_spec_from_json(spec)
        for _ in range(3):
            count = generator.randrange(made.max_new_tokens)
            generated = [generator.randrange(V) for _ in range(count)]
            scores = [generator.randint(-100, 100) for _ in range(V)]
            ruled = apply_rules(made, np.array(scores, np.float32) / SCALE, generated)
            shown = [float(x) if np.isfinite(x) else None for x in ruled]
            cases.append({"spec": spec, "generated": generated, "scores": scores, "ruled": shown})
    return Topic("logits_rules", vocabulary=V, scale=SCALE, cases=cases)


def beams() -> Topic:
    """Beam search over a table of logits [R,V] / 16.

    A sequence that was fed ids of the sum s, `begin` included, has the logits of row s mod R.
    """
    generator = random.Random(8)
    table = [[generator.randint(-60, 60) for _ in range(V)] for _ in range(R)]
    cases = []
    for spec in _specs(generator):
        made = generation_spec_from_json(spec | {"beams": 2 + spec["beams"] % 4})
        sums = [sum(made.begin)]

        def step(tokens: Sequence[int], parents: Sequence[int], sums: list[int] = sums) -> Any:
            sums[:] = [sums[p] + t for p, t in zip(parents, tokens, strict=True)]
            return np.array([table[s % R] for s in sums], np.float32) / SCALE

        first = np.array(table[sums[0] % R], np.float32) / SCALE
        found = search(Rules(made), first, step)
        if not found:
            continue
        best = found[0]
        case = {"spec": {**spec, "beams": made.beams}, "tokens": list(best.tokens)}
        cases.append({**case, "sum": best.log_probability})
    return Topic("beams", vocabulary=V, rows=R, scale=SCALE, table=table, cases=cases)


# ---- Regions ----

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
        ends = [len(reading.text[:place].encode()) for r in reading.regions for place in _span(r)]
        p = placement
        cases.append(
            {
                "spec": spec,
                "ids": ids,
                "scores": scores,
                "size": list(size),
                "placement": [*asdict(p).values()],
                "text": reading.text,
                "spans": [ends[i : i + 2] for i in range(0, len(ends), 2)],
                "boxes": [[list(box) for box in r.boxes] for r in reading.regions],
                "box_scores": [list(r.scores) for r in reading.regions],
                "malformed": reading.malformed,
            }
        )
    return Topic("regions2", file=json.dumps(text_spec, ensure_ascii=False), cases=cases)


def _span(region: Any) -> tuple[int, int]:
    return min(region.start, region.end), region.end


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


# ---- Manifests ----

_HASH = "0123456789abcdef" * 4


def base() -> dict[str, Any]:
    """A small manifest of schema 2: one layer, a rolling entry, attention, regions, embeddings."""
    state = [
        ("seen", "image", ["B", "G", "P", "Dh"]),
        ("k_0", "text", ["B", "G", "T", "Dh"]),
        ("conv", "rolling", ["B", 3, "D"]),
    ]
    tensors = {n: {"dtype": "float32", "shape": s} for n, _, s in state}
    row = {"dtype": "float32", "shape": ["B", "G", 1, "Dh"]}

    def whole(*shape: Any, dtype: str = "int32") -> dict[str, Any]:
        return {"dtype": dtype, "shape": ["B", *shape]}

    embedding = whole("E", dtype="float32")
    declared = {
        "encode": (
            {"image": whole("h", "w", 3, dtype="uint8")},
            {"seen": tensors["seen"], "conv": tensors["conv"], "image_embedding": embedding},
        ),
        "decode": (
            {"token": whole(1), "position": whole(), **tensors},
            {
                "logits": whole("V", dtype="float32"),
                "new_k_0": row,
                "new_conv": tensors["conv"],
                "attention": whole("P", dtype="float32"),
            },
        ),
        "encode_text": (
            {"tokens": whole("N"), "length": whole()},
            {"text_embedding": embedding},
        ),
    }
    return {
        "schema": 2,
        "name": "tiny",
        "model": {"family": "any", "source": "made", "license": "MIT", "weights": _HASH},
        "format": "tflite",
        "precision": "fp32",
        "interface": {
            "dims": {
                **{"h": 20, "w": 24, "G": 2, "P": 4, "T": 16, "Dh": 8, "D": 6},
                **{"V": 64, "E": 5, "N": 7},
            },
            "functions": [
                {"name": name, "inputs": inputs, "outputs": outputs}
                for name, (inputs, outputs) in declared.items()
            ],
            "state": [
                {"name": n, "role": r, "kind": "key", "layer": 0, "shape": s, "dtype": "float32"}
                for n, r, s in state
            ],
            "attention": {"rows": 2, "columns": 2, "first": 0},
            "batch": 1,
        },
        "functions": {
            name: {
                "file": "model.tflite",
                "entry": name,
                "inputs": {key: f"in_{key}" for key in inputs},
                "outputs": {key: f"out_{key}" for key in outputs},
            }
            for name, (inputs, outputs) in declared.items()
        },
        "image": {"size": [20, 24], "fit": "contain", "filter": "bicubic", "background": None},
        "tokenizer": "tokenizer.json",
        "encoder": None,
        "prompts": {
            "caption": {"begin": [1], "eos": [2], "max_new_tokens": 16, "length_penalty": 1},
            "long": {"begin": [1, 2], "eos": [], "max_new_tokens": 5, "pad": None},
        },
        "regions": {"codec": "loc1000", "first": 30, "count": 30, "marks": {}},
        "plan": {"any": [1, None]},
        "tools": {"edgecap": "0"},
        "files": {
            "model.tflite": {"sha256": _HASH, "size": 5},
            "tokenizer.json": {"sha256": _HASH, "size": 5},
        },
    }


# A path into the manifest, and what is put there; DELETE takes the field away.
DELETE = "delete!"
CHANGES: list[tuple[str, Any]] = [
    ("x_mine", 1),
    ("unknown", 1),
    ("name", DELETE),
    ("name", 3),
    ("schema", 2.0),
    ("schema", 3),
    ("model.weights", None),
    ("model.weights", "abc"),
    ("model.weights", DELETE),
    ("model.license", DELETE),
    ("model.x", 1),
    ("tools.edgecap", 1),
    ("plan", []),
    ("files.model~tflite.size", -1),
    ("files.model~tflite.sha256", "0"),
    ("files.model~tflite", DELETE),
    ("files.tokenizer~json", DELETE),
    ("files.MODEL~tflite", {"sha256": _HASH, "size": 1}),
    ("files.~~/a", {"sha256": _HASH, "size": 1}),
    ("interface.dims.h", 0),
    ("interface.dims.h", 21),
    ("interface.dims.h", "a"),
    ("interface.dims.B", 1),
    ("interface.dims.V", 1 << 31),
    ("interface.dims.T", 17),
    ("interface.dims.T", 15),
    ("interface.dims.Dh", 1 << 29),
    ("interface.batch", None),
    ("interface.batch", 2),
    ("interface.batch", "1"),
    ("interface.attention", None),
    ("interface.attention.rows", "2"),
    ("interface.attention.rows", DELETE),
    ("interface.state.0.role", "text"),
    ("interface.state.0.role", "cache"),
    ("interface.state.0.name", "Seen"),
    ("interface.state.0.name", "k_0"),
    ("interface.state.0.layer", 1.5),
    ("interface.state.0.dtype", "float64"),
    ("interface.state.0.shape", []),
    ("interface.state.0.shape", ["G", "P"]),
    ("interface.state.0.shape", ["B", "Q"]),
    ("interface.state.0.shape", ["B", 0]),
    ("interface.state.0.shape", ["B", "B"]),
    ("interface.state.1.shape", ["B", "G", 16, "Dh"]),
    ("interface.state.1.shape", ["B", "T", "Dh"]),
    ("interface.functions.0.name", "encode_image"),
    ("interface.functions.0.name", "decode"),
    ("interface.functions.0.outputs.more", {"dtype": "int32", "shape": ["B"]}),
    ("interface.functions.1.outputs.logits", DELETE),
    ("interface.functions.1.inputs.token.dtype", "int8"),
    ("interface.functions.1.inputs.token.shape", ["B", 1.5]),
    ("interface.functions.1.inputs.token.x", 1),
    ("interface.functions.2", DELETE),
    ("functions.encode_text", DELETE),
    ("functions.decode.inputs.token", DELETE),
    ("functions.decode.outputs.more", "more"),
    ("functions.decode.file", "other.tflite"),
    ("functions.decode.entry", None),
    ("image.size", [20, 25]),
    ("image.size", [20]),
    ("image.size", [20, 5000]),
    ("image.fit", "crop"),
    ("image.fit", "cover"),
    ("image.filter", "cubic"),
    ("image.fill", 256),
    ("image.fill", None),
    ("image.background", -1),
    ("image.crop", [20, 24]),
    ("image.crops", {"side": 20, "split": False}),
    ("image.channels", "GRB"),
    ("image.wide", "low"),
    ("image.mean", [1]),
    ("tokenizer", None),
    ("tokenizer", "other.json"),
    ("encoder", "other.json"),
    ("encoder", "tokenizer.json"),
    ("prompts", {}),
    ("prompts.caption.begin", []),
    ("prompts.caption.begin", [64]),
    ("prompts.caption.begin", [-1]),
    ("prompts.caption.begin", DELETE),
    ("prompts.caption.prefix", [640]),
    ("prompts.caption.max_new_tokens", 0),
    ("prompts.caption.max_new_tokens", 17),
    ("prompts.caption.min_new_tokens", 17),
    ("prompts.caption.beams", 0),
    ("prompts.caption.beams", 64),
    ("prompts.caption.beams", 65),
    ("prompts.caption.early_stopping", "soon"),
    ("prompts.caption.early_stopping", "never"),
    ("prompts.caption.length_penalty", "1"),
    ("prompts.caption.length_penalty", 101),
    ("prompts.caption.repetition_penalty", 0),
    ("prompts.caption.no_repeat_ngram", -1),
    ("prompts.caption.forced_first", 64),
    ("prompts.caption.suppress", [9999]),
    ("prompts.caption.sampling", {"temperature": 0}),
    ("prompts.caption.sampling", {"top_k": 5, "top_p": 0.5}),
    ("prompts.caption.sampling", {"top": 5}),
    ("regions", None),
    ("regions.codec", "loc"),
    ("regions.first", 40),
    ("regions.count", 1),
    ("regions.bin_px", 4),
    ("regions.marks", DELETE),
    ("regions.marks", MARKS),
    ("regions", {"codec": "cells2", "first": 30, "count": 25, "marks": MARKS}),
    ("regions", {"codec": "cells2", "first": 30, "count": 26, "marks": MARKS}),
    ("regions", {"codec": "cells2", "first": 30, "count": 25, "marks": {**MARKS, "phrase": 31}}),
    ("regions", {"codec": "cells2", "first": 30, "count": 25, "marks": {**MARKS, "phrase": 3}}),
    ("regions", {"codec": "edges4", "first": 30, "count": 25, "bin_px": 4, "marks": {}}),
]


def _changed(path: str, value: Any) -> dict[str, Any]:
    made = copy.deepcopy(base())
    place: Any = made
    *folders, last = [part.replace("~", ".") for part in path.split(".")]
    for part in folders:
        place = place[int(part)] if isinstance(place, list) else place[part]
    key: Any = int(last) if isinstance(place, list) else last
    if value == DELETE:
        del place[key]
    else:
        place[key] = value
    return made


def manifests2() -> Topic:
    """Whole manifests, each with the code that it is refused with; null: accepted."""
    cases = [{"name": "as it is", "file": json.dumps(base()), "code": None}]
    for path, value in CHANGES:
        text = json.dumps(_changed(path, value), separators=(",", ":"))
        code = _code(_read, text)
        cases.append({"name": f"{path} {value}"[:60], "file": text, "code": code})
    return Topic("manifests2", cases=cases)


def _read(value: Any) -> Any:
    from edgecap.bundle.manifest import manifest_from_json as any_manifest

    return any_manifest(value)


TOPICS = (image_specs, codecs, logits_rules, beams, regions2, manifests2)
