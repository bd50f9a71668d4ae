"""`edgecap compare`: two captioners on the same scenes, with any backends.

Both get the same images. Each generates captions by itself (greedy, with the box grammar). Then
both are fed A's caption (teacher forcing) and compared in the next token of every step, so that one
early difference does not count for all the tokens after it. Languages alternate from scene to
scene. For the metrics see comparison.py.

Letters as in bundle/interface.py; N scenes, b scenes of one batch, K steps of one scene, S side of
the model input.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edgecap.benchmarks.comparison import Comparison, Forced, SceneComparison
from edgecap.benchmarks.defaults import THRESHOLD
from edgecap.benchmarks.divergence import CacheSums
from edgecap.benchmarks.reference.metrics import match
from edgecap.bundle.cosines import cosines
from edgecap.bundle.interface import Interface
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.core.progress import progress
from edgecap.reference.scenes.graph import Box, Name
from edgecap.reference.scenes.hard_negatives import names_of
from edgecap.reference.scenes.parse import parse
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.captions import Caption, read_caption
from edgecap.runtime.decode import generate
from edgecap.runtime.forcing import feed
from edgecap.runtime.preprocess import preprocess
from edgecap.runtime.state import State

BATCH = 8
STYLE = "grounded"
MOST_ALIKE = 7  # most boxes of one name in a scene; a degenerate caption may list more


def check_comparable(a: Captioner, b: Captioner) -> None:
    """Raise UnsupportedError unless the two have the same tokens and preprocessing."""
    shapes = [[c.manifest.interface.dims[n] for n in ("V", "T")] for c in (a, b)]
    words = [c.tokenizer.decode(range(len(c.tokenizer))) for c in (a, b)]
    inputs = [(c.manifest.image, c.manifest.interface.dims["P"]) for c in (a, b)]
    if shapes[0] != shapes[1] or words[0] != words[1]:
        raise UnsupportedError(
            "compare.tokens",
            f"{a.manifest.name} and {b.manifest.name} have different vocabularies or text lengths, "
            "so their tokens cannot be compared.",
            "Compare bundles of one model, or score each with: edgecap eval",
        )
    if inputs[0] != inputs[1]:
        raise UnsupportedError(
            "compare.model_input",
            f"{a.manifest.name} and {b.manifest.name} preprocess images differently.",
            "Score each with: edgecap eval",
        )


def compare(
    a: Captioner,
    b: Captioner,
    names: tuple[str, str],
    images: Sequence[np.ndarray],
    languages: Sequence[str],
    threshold: float = THRESHOLD,
) -> Comparison:
    """Compare B with A on images uint8 [S,S,3], scene i in language i modulo their number.

    Raises UnsupportedError as `check_comparable`, and InputError for a language that one of them
    lacks.
    """
    check_comparable(a, b)
    for captioner in (a, b):
        for lang in languages:
            captioner.vocabulary.prompt(lang, STYLE)
    if not images:
        raise InputError("compare.nothing", "there are no scenes to compare.")
    sums = {"encode_image": CacheSums(), "decode": CacheSums()}
    of_one_shape = _rows(a.manifest.interface) == _rows(b.manifest.interface)
    widths = [c.manifest.interface.dims["E"] for c in (a, b)]
    of_one_width = widths[0] == widths[1]
    found: list[SceneComparison] = []
    for batch in progress(list(_batches(len(images), len(languages))), "comparing"):
        lang = languages[batch[0] % len(languages)]
        found += _Batch(a, b, [images[i] for i in batch], lang).compare(
            batch, sums if of_one_shape else {}, of_one_width
        )
    outputs = {"encode_image": "image_embedding", "decode": "logits"}
    layers = [
        sums[name].divergence(name, output, threshold)
        for name, output in outputs.items()
        if of_one_shape and (of_one_width or name == "decode")
    ]
    return Comparison(names, tuple(sorted(found, key=lambda one: one.index)), tuple(layers))


def _layers(captioner: Captioner, rows: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Keys and values [L,b,H,…,Dh] of a cache, whether it is one tensor or one for each layer."""
    state = captioner.manifest.interface.state
    keys, values = (
        [rows[entry.name] for entry in state if entry.kind == kind] for kind in ("key", "value")
    )
    if len(state) == 2 and keys[0].ndim == 5:
        return keys[0], values[0]
    return np.stack(keys), np.stack(values)


class _Batch:
    """b scenes in one language, encoded by both."""

    def __init__(self, a: Captioner, b: Captioner, images: Sequence[np.ndarray], lang: str) -> None:
        self._both, self._lang = (a, b), lang
        prepared = [preprocess(image, a.manifest.image) for image in images]
        self._placements = [placement for _, placement in prepared]
        model_inputs = np.stack([model_input for model_input, _ in prepared])  # [b,S,S,3]
        self._encoded = [captioner.graphs.encode(model_inputs) for captioner in self._both]
        self._prompt = a.vocabulary.prompt(lang, STYLE)

    def compare(
        self, indices: Sequence[int], sums: dict[str, CacheSums], with_embeddings: bool
    ) -> list[SceneComparison]:
        """One result per scene; caches are added to `sums`, where there are any."""
        embeddings = [encoded["image_embedding"] for encoded in self._encoded]  # [b,E] both
        if sums:
            sums["encode_image"].rows(*map(_layers, self._both, self._encoded))
            if with_embeddings:
                sums["encode_image"].out(*embeddings)
        captions = list(zip(*map(self._caption, self._both, self._encoded), strict=True))
        forced = self._force([one.tokens for one, _ in captions], sums.get("decode"))
        results = []
        for row, (index, pair, steps) in enumerate(zip(indices, captions, forced, strict=True)):
            ious, named = _shared_boxes(pair, self._lang)
            image = text = None
            if with_embeddings:
                image = float(cosines(*(rows[row] for rows in embeddings)))
                text = self._text_cosine(pair[0].text)
            results.append(SceneComparison(index, pair, image, text, steps, ious, named))
        return results

    def _caption(self, captioner: Captioner, encoded: dict[str, np.ndarray]) -> list[Caption]:
        codec, manifest = captioner.codec, captioner.manifest
        rules = captioner.vocabulary.rules(self._lang, STYLE)
        return [
            read_caption(generated, placement, self._lang, STYLE, codec, manifest)
            for generated, placement in zip(
                generate(State(captioner.graphs, encoded), rules), self._placements, strict=True
            )
        ]

    def _force(self, captions: Sequence[Sequence[int]], sums: CacheSums | None) -> list[Forced]:
        """Feed A's captions to both; the steps from the prompt's last token on."""
        T, begin = self._both[0].vocabulary.text_length, len(self._prompt) - 1
        fed = [[*self._prompt, *tokens][:T] for tokens in captions]
        states = [
            State(c.graphs, encoded) for c, encoded in zip(self._both, self._encoded, strict=True)
        ]
        steps = zip(*(feed(state, fed) for state in states), strict=True)
        rows_of: list[list[tuple[Any, ...]]] = [[] for _ in fed]
        for place, (x, y) in enumerate(steps):
            running = [row for row, ids in enumerate(fed) if place < len(ids)]
            if sums is not None:
                pairs = map(_layers, self._both, (state.rows() for state in states))
                sums.rows(*((k[:, running], v[:, running]) for k, v in pairs))
            if place < begin:
                continue
            if sums is not None:
                sums.out(x.logits[running], y.logits[running])
            assert x.attention is not None and y.attention is not None  # of the reference's form
            for row in running:
                logits = x.logits[row], y.logits[row]  # [V] both
                rows_of[row].append(
                    (
                        logits[0].argmax() == logits[1].argmax(),
                        cosines(*(scores - scores.mean() for scores in logits)),
                        np.abs(logits[0] - logits[1]).max(),
                        cosines(x.attention[row], y.attention[row]),
                    )
                )
        return [Forced(*(np.array(c) for c in zip(*rows, strict=True))) for rows in rows_of]

    def _text_cosine(self, text: str) -> float | None:
        """Cosine of the caption's text embeddings; None for an empty or too long text."""
        try:
            embedded = [captioner.embed_texts([text])[0] for captioner in self._both]  # [E] both
        except InputError:
            return None
        return float(cosines(*embedded))


def _batches(scenes: int, languages: int) -> Iterator[list[int]]:
    """Scenes of one language, BATCH at a time."""
    for first in range(min(languages, scenes)):
        mine = list(range(first, scenes, languages))
        yield from (mine[i : i + BATCH] for i in range(0, len(mine), BATCH))


def _shared_boxes(pair: tuple[Caption, Caption], lang: str) -> tuple[tuple[float, ...], int]:
    """IoUs of the boxes of things that both captions name, and how many things either names."""
    statements = [parse(caption.raw, lang).statement for caption in pair]
    boxes: list[dict[Name, list[Box]]] = [defaultdict(list), defaultdict(list)]
    for mine, statement in zip(boxes, statements, strict=True):
        for mention in statement.mentions:
            mine[mention.name] += mention.boxes
    shared = [name for name in boxes[0] if name in boxes[1]]
    ious = [
        overlap
        for name in shared
        for overlap in match(boxes[0][name][:MOST_ALIKE], boxes[1][name][:MOST_ALIKE])
    ]
    either = names_of(statements[0]) | names_of(statements[1])
    return tuple(ious), either.total()


def _rows(interface: Interface) -> tuple[int, int, int]:
    return interface.dims["L"], interface.dims["H"], interface.dims["Dh"]
