"""The gate: an exported bundle against what PyTorch said, in a process that cannot import torch.

    python -m edgecap.exporters.parity.gate BUNDLE REFERENCES CERTIFICATE

The process is a fresh one without torch because that is what a user's device has: an artifact that
only works beside the libraries that wrote it would pass anywhere else. Two engines in one process
also disturb each other's thread pools.

Letters as in session.py; N scenes, K steps of one scene, M steps of all scenes.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import edgecap
from edgecap.bundle.certificate import (
    AgreementParity,
    Certificate,
    OutputParity,
    certificate_to_json,
    certify,
    extended,
)
from edgecap.bundle.golden import measure, output_cosines, read_golden
from edgecap.bundle.io import open_bundle
from edgecap.bundle.manifest import ATTENTION, STATEFUL
from edgecap.core.boxes import iou
from edgecap.core.errors import EdgecapError
from edgecap.exporters.parity.tolerances import BOUNDS, CLOSE, Bounds
from edgecap.runtime.cache import Cache
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.decode import generate
from edgecap.runtime.forcing import teacher_forced
from edgecap.runtime.mentions import read
from edgecap.runtime.replay import replay
from edgecap.runtime.session import ImageCode

PACKAGES = ("onnxruntime", "ai-edge-litert", "tflite-runtime", "tensorflow")
# CoreML is judged by the evaluator on a Mac too: one answer on every machine.
EVALUATOR = "mlprogram"
BY_HEAD = "by_head.npy"
FLOATS = ("image_embedding", "text_embedding", "logits", "attention")


@dataclass(frozen=True)
class ReferenceCaption:
    """The greedy caption of one scene."""

    tokens: list[int]  # without <eos>
    text: str
    boxes: list[list[float]]  # x0 y0 x1 y1, px of the model_input


@dataclass(frozen=True)
class ReferenceOutputs:
    """What PyTorch said about N scenes; the arrays lie in files of the same names."""

    reference: str  # e.g. "torch 2.13.0 fp32"
    asked: list[tuple[str, str]]  # N of (lang, style)
    answers: list[ReferenceCaption]  # N
    model_input: np.ndarray  # uint8 [N,S,S,3]
    image_embedding: np.ndarray  # f32 [N,E]
    text_embedding: np.ndarray  # f32 [N,E], of the answers' texts
    logits: np.ndarray  # f32 [M,V], along the reference's own tokens, <eos> included
    attention: np.ndarray  # f32 [M,P]
    by_head: np.ndarray | None = None  # f32 [M',L,H,P] of some scenes: see parity_attention

    def write(self, directory: Path) -> None:
        for name in ("model_input", *FLOATS):
            np.save(directory / f"{name}.npy", getattr(self, name), allow_pickle=False)
        if self.by_head is not None:
            np.save(directory / BY_HEAD, self.by_head, allow_pickle=False)
        answers = [vars(answer) for answer in self.answers]
        rest = {"reference": self.reference, "asked": self.asked, "answers": answers}
        (directory / "references.json").write_text(json.dumps(rest), encoding="utf-8")

    @staticmethod
    def load(directory: Path) -> ReferenceOutputs:
        arrays: dict[str, Any] = {
            name: np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("model_input", *FLOATS)
        }
        if (directory / BY_HEAD).exists():
            arrays["by_head"] = np.load(directory / BY_HEAD, mmap_mode="r", allow_pickle=False)
        rest = json.loads((directory / "references.json").read_text(encoding="utf-8"))
        asked = [(lang, style) for lang, style in rest["asked"]]
        answers = [ReferenceCaption(**answer) for answer in rest["answers"]]
        return ReferenceOutputs(rest["reference"], asked, answers, **arrays)


def answer(
    captioner: Captioner, code: ImageCode, asked: Sequence[tuple[str, str]]
) -> list[ReferenceCaption]:
    """Greedy captions of encoded scenes that are all asked for alike or come one by one."""
    lang, style = asked[0]
    vocabulary, manifest = captioner.vocabulary, captioner.manifest
    cache = Cache(captioner.session, code, manifest.contract.text_length)
    limits = vocabulary.limits(None, boxes=True, constrained=True)
    answers = []
    for generated in generate(cache, vocabulary.prompt(lang, style), limits):
        scores = [chosen.score for chosen in generated.chosen]
        reading = read(
            generated.tokens,
            scores,
            captioner.tokenizer,
            vocabulary.locations,
            manifest.coordinates.bin_px,
            lang,
        )
        boxes = [list(box) for group in reading.groups for box in group.boxes]
        answers.append(ReferenceCaption(generated.tokens, reading.text, boxes))
    return answers


def compare(captioner: Captioner, references: ReferenceOutputs) -> Certificate:
    """What the target makes of the same scenes, and the verdict."""
    manifest = captioner.manifest
    bounds = BOUNDS[manifest.precision]
    found: list[tuple[int, OutputParity]] = []
    same: Counter[str] = Counter()
    start = 0
    for i, wanted in enumerate(references.answers):
        code = captioner.session.encode_image(references.model_input[i : i + 1])
        asked = references.asked[i]
        got = answer(captioner, code, [asked])[0]
        same["tokens"] += got.tokens == wanted.tokens
        same["boxes"] += _same_boxes(got.boxes, wanted.boxes, bounds.iou)
        same["text"] += got.text == wanted.text
        prompt = captioner.vocabulary.prompt(*asked)
        ((logits, attention),) = teacher_forced(  # [K,V], [K,P]
            captioner.session, code, prompt, [wanted.tokens], captioner.vocabulary.text_length
        )
        end = start + len(logits)
        outputs = {
            "image_embedding": (code.embedding, slice(i, i + 1)),
            "text_embedding": (_embed(captioner, wanted.text), slice(i, i + 1)),
            "logits": (logits, slice(start, end)),
            "attention": (attention, slice(start, end)),
        }
        for name, (value, rows) in outputs.items():
            expected = np.asarray(getattr(references, name)[rows])
            found.append((i, measure(name, expected, value, bounds.outputs)))
            if name in ("logits", "attention"):
                same[f"close_{name}"] += int((output_cosines(name, expected, value) >= CLOSE).sum())
        same["next_token"] += _within_tie(
            references.logits[start:end], logits.argmax(-1), bounds.tie
        )
        start = end
    outputs_ = tuple(worst_of(name, found) for name in FLOATS)
    agreements = _agreements(bounds, same, len(references.answers), start)
    languages = tuple(sorted({lang for lang, _ in references.asked}))
    target = f"{_engine(captioner.backend)} {manifest.precision}"
    return certify(
        references.reference, target, len(references.answers), languages, outputs_, agreements
    )


def with_golden(scenes: Certificate, golden: Certificate) -> Certificate:
    """One certificate that also says what `edgecap verify` will find: no bundle may fail there."""
    return extended(
        scenes,
        tuple(replace(o, output=f"golden {o.output}") for o in golden.outputs),
        tuple(replace(a, what=f"golden {a.what}") for a in golden.agreements),
    )


def _embed(captioner: Captioner, text: str) -> np.ndarray:
    """f32 [1,E]; a reference that said nothing has nothing to embed, and a stand-in is compared."""
    return captioner.session.encode_text(*frame(captioner, text))


def frame(captioner: Captioner, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and length of a caption's text, cut where a caption is longer than a text may be."""
    words = captioner.tokenizer.encode(text.strip() or ".")[: captioner.vocabulary.text_length - 2]
    names, tokenizer = captioner.manifest.tokenizer, captioner.tokenizer
    ids = [tokenizer.id_of(names.text), *words, tokenizer.id_of(names.eos)]
    tokens = np.full((1, captioner.vocabulary.text_length), tokenizer.id_of(names.pad), np.int32)
    tokens[0, : len(ids)] = ids  # [1,T]
    return tokens, np.array([len(ids)], np.int32)


def _same_boxes(got: list[list[float]], wanted: list[list[float]], least: float) -> bool:
    pairs = zip(got, wanted, strict=False)
    return len(got) == len(wanted) and all(a == b or iou(a, b) >= least for a, b in pairs)


def _within_tie(wanted: np.ndarray, choice: np.ndarray, tie: float) -> int:
    """Of K steps, those whose choice [K] the reference scores [K,V] within `tie` of its best."""
    chosen = np.take_along_axis(wanted, choice[:, None], axis=-1)[:, 0]  # [K]
    return int((wanted.max(-1) - chosen <= tie).sum())


def worst_of(name: str, found: list[tuple[int, OutputParity]]) -> OutputParity:
    """One output over all scenes."""
    mine = [(i, parity) for i, parity in found if parity.output == name]
    scene, worst = max(mine, key=lambda entry: entry[1].max_abs)
    cosine = min(parity.cosine for _, parity in mine)
    return replace(worst, cosine=cosine, worst=f"scene {scene}, {worst.worst}")


def _agreements(
    bounds: Bounds, same: Counter[str], scenes: int, steps: int
) -> tuple[AgreementParity, ...]:
    of_steps = {
        "next_token": bounds.next_token,
        "close_logits": bounds.close,
        "close_attention": bounds.close,
    }
    of_scenes = {"tokens": bounds.tokens, "boxes": bounds.boxes, "text": bounds.text}
    return tuple(
        AgreementParity(what, same[what] / of, float(least))
        for required, of in ((of_steps, steps), (of_scenes, scenes))
        for what, least in required.items()
    )


def _engine(backend: str) -> str:
    """Name and version of the engine that this process loaded."""
    if backend == EVALUATOR:
        return f"edgecap {edgecap.__version__}'s evaluator of ML programs"
    for package in PACKAGES:
        if package.replace("-", "_") in sys.modules:
            try:
                return f"{package} {version(package)}"
            except PackageNotFoundError:
                return package
    return "unknown engine"


def main(bundle: str, references: str, certificate: str) -> None:
    """Compare, and write the certificate, whatever its verdict."""
    sys.modules["torch"] = None  # type: ignore[assignment]  # any import of it fails from here on
    from edgecap.exporters.parity.attention import compare_attention
    from edgecap.exporters.parity.state import joined, with_state
    from edgecap.models.loading import load

    asked, opened = ReferenceOutputs.load(Path(references)), open_bundle(bundle)
    captioner = load(bundle, EVALUATOR if opened.manifest.format == "coreml" else "auto")
    result = with_golden(compare(captioner, asked), replay(captioner, read_golden(opened)))
    functions = captioner.manifest.contract.functions
    if STATEFUL in functions:
        package = Path(bundle) / functions[STATEFUL].file
        result = joined(result, compare(with_state(captioner, package), asked))
    if ATTENTION in functions:
        result = extended(result, compare_attention(captioner, asked))
    Path(certificate).write_bytes(certificate_to_json(result))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except EdgecapError as error:  # the parent quotes the last line, which is to be no traceback's
        sys.exit(str(error))
