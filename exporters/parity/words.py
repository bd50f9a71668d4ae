"""The parity gate of schema 2: a bundle against its PyTorch model, on words first.

Data only, and its torch-free side: `ModelOutputs` of PyTorch, and `compare`, which runs the bundle.
Bounds are relative to the spread of the model's own logits, so that they mean the same for any
model. Cosines never decide alone: near-equal states can give other words (winml-cli PR 1122).

Letters: N images, C crops of all of them, n tokens of a caption, V vocabulary, E embedding,
M all steps.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecap.bundle.certificate import (
    AgreementParity,
    Certificate,
    OutputParity,
    certificate_to_json,
    certify,
)
from edgecap.bundle.cosines import cosines
from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.core.errors import EdgecapError
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.decode import generate
from edgecap.runtime.expected import write_expected
from edgecap.runtime.graphs import Graphs
from edgecap.runtime.image_processing import ModelInput
from edgecap.runtime.logits import apply_rules
from edgecap.runtime.rules import Rules
from edgecap.runtime.state import State

OUTPUTS, TOKENS = "outputs.npz", "captions.json"


@dataclass(frozen=True)
class Bounds:
    """What a precision may cost."""

    logits: float  # largest difference, in spreads of the model's logits
    cosine: float  # smallest, of rows of logits less their mean
    next_token: float  # share of steps whose best token is the same, or as good
    tie: float  # spreads: a token scored this close to the best is as good
    captions: float  # share of captions with the same tokens, or parting at a tie
    embedding: float  # smallest cosine of an embedding


BOUNDS = {
    "fp32": Bounds(1e-3, 0.999999, 1.0, 1e-3, 1.0, 0.999999),
    "fp16": Bounds(0.1, 0.9999, 0.99, 0.02, 0.9, 0.9999),
    "w8": Bounds(1.0, 0.99, 0.97, 0.1, 0.5, 0.99),
    "w8a8": Bounds(1.5, 0.98, 0.95, 0.15, 0.4, 0.98),
}
BOUNDS["mixed"] = BOUNDS["w8a8"]  # at least as close


@dataclass(frozen=True)
class ModelOutputs:
    """Outputs of the PyTorch model on N images with one prompt."""

    reference: str  # e.g. "torch 2.13.0 fp32"
    prompt: str | None  # None: a model that only embeds
    images: tuple[ModelInput, ...]  # N
    captions: list[list[int]]  # ids behind the prompt, the end included where there is one
    logits: np.ndarray  # f32 [M,V], along the captions
    embeddings: np.ndarray | None  # f32 [N,E]

    def write(self, directory: Path) -> None:
        """As two files."""
        arrays = {
            "crops": np.concatenate([image.pixels for image in self.images]),  # uint8 [C,h,w,3]
            "grids": np.array([image.grid for image in self.images]),  # int [N,2]
            "logits": self.logits,
        }
        if self.embeddings is not None:
            arrays["embeddings"] = self.embeddings
        np.savez(directory / OUTPUTS, allow_pickle=False, **arrays)
        record = {"reference": self.reference, "prompt": self.prompt, "captions": self.captions}
        (directory / TOKENS).write_text(json.dumps(record), encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> ModelOutputs:
        """The inverse of `write`."""
        record = json.loads((directory / TOKENS).read_text(encoding="utf-8"))
        with np.load(directory / OUTPUTS, allow_pickle=False) as arrays:
            grids = [(int(rows), int(columns)) for rows, columns in arrays["grids"]]
            ends = np.cumsum([rows * columns + 1 for rows, columns in grids])
            crops = np.split(arrays["crops"], ends[:-1])  # each [n,h,w,3]
            return cls(
                record["reference"],
                record["prompt"],
                tuple(map(ModelInput, crops, grids)),
                record["captions"],
                arrays["logits"],
                arrays.get("embeddings"),
            )


def forced_logits(
    graphs: Graphs, image: ModelInput, spec: GenerationSpec, ids: list[int]
) -> np.ndarray:
    """Logits f32 [n,V] of the steps that chose `ids`."""
    state = State(graphs, [image])
    rows = [state.prompt(spec.begin).logits[0]]  # [V]
    rows += [state.feed([token]).logits[0] for token in ids[:-1]]
    return np.stack(rows)


def compare(captioner: Captioner, reference: ModelOutputs, target: str) -> Certificate:
    """How far a bundle lies from its model, and the verdict."""
    bounds = BOUNDS.get(captioner.manifest.precision, BOUNDS["w8a8"])
    graphs = captioner.graphs
    outputs: list[OutputParity] = []
    agreements: list[AgreementParity] = []
    if reference.prompt is not None:
        spec = captioner.manifest.prompts[reference.prompt]
        found = np.concatenate(
            [
                forced_logits(graphs, image, spec, ids)
                for image, ids in zip(reference.images, reference.captions, strict=True)
            ]
        )  # [M,V]
        outputs.append(_logits(reference.logits, found, bounds))
        same_choice = _same_choice(reference.logits, found, bounds.tie)
        agreements += [
            *_captions(graphs, reference, spec, bounds),
            AgreementParity("next_token", same_choice, bounds.next_token),
        ]
    if reference.embeddings is not None:
        made = np.concatenate(
            [graphs.encode_inputs([image])["image_embedding"] for image in reference.images]
        )
        alike = cosines(reference.embeddings, made)
        outputs.append(
            OutputParity(
                "image_embedding",
                float(np.abs(reference.embeddings - made).max()),
                float(alike.min()),
                float(np.abs(reference.embeddings).max()),
                bounds.embedding,
                f"image {int(alike.argmin())}",
            )
        )
    return certify(
        reference.reference, target, len(reference.images), (), tuple(outputs), tuple(agreements)
    )


def _captions(
    graphs: Graphs, reference: ModelOutputs, spec: GenerationSpec, bounds: Bounds
) -> tuple[AgreementParity, AgreementParity]:
    """The share of captions that are the same, and of those that are or part at a tie."""
    tie = bounds.tie * spread(reference.logits)
    ends = np.cumsum([len(ids) for ids in reference.captions])
    same = near = 0
    for image, ids, logits in zip(
        reference.images, reference.captions, np.split(reference.logits, ends[:-1]), strict=True
    ):
        words = tuple(ids[:-1] if ids and ids[-1] in spec.eos else ids)
        found = _tokens(graphs, image, spec)
        same += words == found
        near += words == found or _parts_at_tie(words, found, logits, spec, tie)
    return (
        AgreementParity("tokens", same / len(ends), 0.0),
        AgreementParity("tokens_or_tie", near / len(ends), bounds.captions),
    )


def _tokens(graphs: Graphs, image: ModelInput, spec: GenerationSpec) -> tuple[int, ...]:
    (generated,) = generate(State(graphs, [image]), Rules(spec))
    return tuple(generated.tokens)


def spread(logits: np.ndarray) -> float:
    """Standard deviation of logits f32 [M,V] within their rows."""
    return max(float((logits - logits.mean(-1, keepdims=True)).std()), 1e-9)


def _logits(reference: np.ndarray, found: np.ndarray, bounds: Bounds) -> OutputParity:
    distance = np.abs(reference - found).max(-1)  # [M]
    worst = int(distance.argmax())
    centred = [rows - rows.mean(-1, keepdims=True) for rows in (reference, found)]
    return OutputParity(
        "logits",
        float(distance[worst]),
        float(cosines(*centred).min()),
        bounds.logits * spread(reference),
        bounds.cosine,
        f"step {worst}",
    )


def _same_choice(reference: np.ndarray, found: np.ndarray, tie: float) -> float:
    """Share of M steps whose best token of `found` the model scores within `tie` of its best."""
    chosen = found.argmax(-1)  # [M]
    lost = reference.max(-1) - reference[np.arange(len(reference)), chosen]  # [M]
    return float(np.mean(lost <= tie * spread(reference)))


def _parts_at_tie(
    words: tuple[int, ...],
    found: tuple[int, ...],
    logits: np.ndarray,
    spec: GenerationSpec,
    tie: float,
) -> bool:
    """Whether two captions part where the model itself is undecided.

    `logits` f32 [n,V] are along the model's `words` and its end; a tie is a token scored within
    `tie` of the best. Beams weigh whole captions: there only the same is the same.
    """
    if spec.beams > 1:
        return False
    step = next(
        (i for i, pair in enumerate(zip(words, found, strict=False)) if pair[0] != pair[1]), None
    )
    if step is None:  # one goes on where the other ends
        step = min(len(words), len(found))
        chosen = found[step : step + 1] or spec.eos
    else:
        chosen = found[step : step + 1]
    if step >= len(logits):
        return False
    row = apply_rules(spec, logits[step], words[:step])  # [V], what the model chose by
    return bool(row.max() - max(row[token] for token in chosen) <= tie)


def main(bundle: str, answers: str, result: str) -> None:
    """Compare a bundle with PyTorch's answers, and write the certificate to `result`.

    The bundle gets its golden files.
    """
    sys.modules["torch"] = None  # type: ignore[assignment]  # any import of it fails from here on
    from edgecap.runtime.loading import load

    captioner = load(bundle)
    target = f"{captioner.backend} {captioner.manifest.precision}"
    reference = ModelOutputs.read(Path(answers))
    certificate = compare(captioner, reference, target)
    Path(result).write_bytes(certificate_to_json(certificate))
    whole = [image.pixels[-1] for image in reference.images]  # of crops, the one of all
    write_expected(captioner, whole, Path(bundle))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except EdgecapError as error:  # the parent quotes the last line
        sys.exit(str(error))
