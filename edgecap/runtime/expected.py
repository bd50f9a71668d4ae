"""Golden outputs of a bundle itself: recorded at export, replayed by `edgecap verify`.

`golden/expected.json` lists images of the bundle with the tokens that the bundle itself generated;
`golden/expected.npz` holds the logits of each first token and the embeddings of the images. They
are replayed on the engine of the local machine.

Letters: N images, V vocabulary, E embedding.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from edgecap.bundle.certificate import AgreementParity, Certificate, OutputParity, certify
from edgecap.bundle.interface import DECODE, ENCODE
from edgecap.bundle.io import Bundle
from edgecap.core.errors import BundleError
from edgecap.core.typed import decode, dump
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.captions import Caption
from edgecap.runtime.image_processing import process
from edgecap.runtime.reread import Recorded, compare_readings, recorded
from edgecap.runtime.state import State

FOLDER, FILE, ARRAYS = "golden", "golden/expected.json", "golden/expected.npz"
IMAGES = 4
# Share of the standard deviation of the logits: engine versions and processors round differently.
LOGITS = 0.25
COSINE = 0.99


@dataclass(frozen=True)
class Case:
    """One image and the tokens generated for it."""

    image: str  # a file of the bundle
    prompt: str | None  # None: the model only embeds
    tokens: tuple[int, ...]
    reading: Recorded | None = None  # of the tokens; None in bundles made before 2026-11-30


@dataclass(frozen=True)
class Expected:
    """All cases, and the engine that produced them."""

    engine: str
    cases: tuple[Case, ...]


def write_expected(captioner: Captioner, images: Iterable[np.ndarray], directory: Path) -> None:
    """Run a captioner on some images, each uint8 [h,w,3], and write its outputs to `directory`."""
    (directory / FOLDER).mkdir()
    cases, logits, embeddings = [], [], []
    for number, pixels in enumerate(islice(images, IMAGES)):
        name = f"{FOLDER}/image_{number:02d}.png"
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "PNG")
        (directory / name).write_bytes(encoded.getvalue())
        prompt, caption, first, embedding = _run_image(captioner, encoded.getvalue())
        if caption is None:
            cases.append(Case(name, prompt, ()))
        else:
            reading = recorded(captioner, encoded.getvalue(), caption)
            cases.append(Case(name, prompt, caption.tokens, reading))
        logits += [] if first is None else [first]
        embeddings += [] if embedding is None else [embedding]
    expected = Expected(captioner.backend, tuple(cases))
    (directory / FILE).write_bytes(dump(asdict(expected)))
    arrays = {"logits": logits, "embeddings": embeddings}
    stacked = {name: np.stack(rows) for name, rows in arrays.items() if rows}
    with (directory / ARRAYS).open("wb") as file:
        np.savez(file, allow_pickle=False, **stacked)


def replay_expected(captioner: Captioner, opened: Bundle) -> Certificate:
    """Run the bundle's cases again and compare; BundleError if it has none."""
    if FILE not in opened.manifest.files or ARRAYS not in opened.manifest.files:
        raise BundleError(
            "bundle.missing_file",
            f"{opened.path} has no {FILE}, which is needed to verify it.",
            "Verify the bundle that was exported.",
        )
    expected = decode(Expected, opened.json(FILE), FILE)
    try:
        with np.load(opened.file(ARRAYS), allow_pickle=False) as arrays:
            reference = {name: arrays[name] for name in ("logits", "embeddings") if name in arrays}
    except (ValueError, OSError) as error:
        raise BundleError("bundle.golden", f"{ARRAYS} cannot be read: {error}.") from None
    captions: list[Caption] = []
    actual: dict[str, list[np.ndarray]] = {"logits": [], "embeddings": []}
    images = [opened.file(case.image).read_bytes() for case in expected.cases]
    for image in images:
        _, caption, first, embedding = _run_image(captioner, image)
        captions += [] if caption is None else [caption]
        actual["logits"] += [] if first is None else [first]
        actual["embeddings"] += [] if embedding is None else [embedding]
    outputs = [
        _compare(name, rows, np.stack(actual[name]), expected.cases)
        for name, rows in reference.items()
        if len(rows) == len(actual[name])
    ]
    if len(outputs) != len(reference) or not reference:
        raise BundleError("bundle.golden", f"{ARRAYS} is not about the cases of {FILE}.")
    agreements: tuple[AgreementParity, ...] = ()
    if captioner.manifest.prompts:
        pairs = list(zip(captions, expected.cases, strict=True))
        same = [caption.tokens == case.tokens for caption, case in pairs]
        agreements = (
            AgreementParity("tokens", sum(same) / len(same), 0.75),
            *compare_readings(
                captioner,
                [
                    (image, case.tokens, "")
                    for image, case in zip(images, expected.cases, strict=True)
                ],
                [case.reading or Recorded(None) for case in expected.cases],
                captions,
            ),
        )
    return certify(
        f"export with {expected.engine}",
        f"{captioner.backend} {captioner.manifest.precision}",
        len(expected.cases),
        (),
        tuple(outputs),
        agreements,
    )


def _run_image(
    captioner: Captioner, image: bytes
) -> tuple[str | None, Caption | None, np.ndarray | None, np.ndarray | None]:
    """Prompt, caption, logits f32 [V] of the first token and embedding f32 [E] of one image."""
    manifest, graphs = captioner.manifest, captioner.graphs
    encoded = graphs.encode_inputs([process(image, manifest.image)])
    embedding = None
    if "image_embedding" in manifest.interface.function(ENCODE).outputs:
        embedding = encoded["image_embedding"][0].astype(np.float32)
    if not manifest.interface.has(DECODE):
        return None, None, None, embedding
    prompt = manifest.default_prompt
    state = State(graphs, encoded)
    logits = state.prompt(manifest.prompts[prompt].begin).logits  # [1,V]
    (caption,) = captioner.caption([image])
    return prompt, caption, logits[0], embedding


def _compare(
    name: str, expected: np.ndarray, actual: np.ndarray, cases: Sequence[Case]
) -> OutputParity:
    """Compare rows f32 [N,V] or [N,E]."""
    distance = np.abs(expected - actual).max(-1)  # [N]
    centred = [rows - rows.mean(-1, keepdims=True) for rows in (expected, actual)]
    norms = np.linalg.norm(centred[0], axis=-1) * np.linalg.norm(centred[1], axis=-1)
    cosines = (centred[0] * centred[1]).sum(-1) / np.maximum(norms, 1e-12)  # [N]
    worst = int(distance.argmax())
    return OutputParity(
        name,
        float(distance[worst]),
        float(cosines.min()),
        LOGITS * max(float(centred[0].std()), 1e-9) * (1 if name == "logits" else 4),
        COSINE,
        cases[worst].image,
    )
