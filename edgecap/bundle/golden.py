"""Golden files: inputs and reference outputs, to verify a bundle on any machine.

    golden/golden.json          cases, texts, tolerances (GoldenIndex)
    golden/image_NN.png         inputs, of any size and mode
    golden/model_input.npy      uint8 [N,h,w,3]  expected results of preprocessing
    golden/image_embedding.npy  f32 [N,E]
    golden/logits.npy           f32 [N,K,V]      of the first K steps after the prompt, fed with the
    golden/attention.npy        f32 [N,K,P]      reference's tokens
    golden/text_embedding.npy   f32 [M,E]        of the M texts

Letters: N cases, K steps, M texts; the others as in interface.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecap.bundle.certificate import OutputParity
from edgecap.bundle.cosines import cosines
from edgecap.bundle.io import Bundle
from edgecap.core.errors import BundleError
from edgecap.core.typed import decode, dump

SCHEMA = 1
FOLDER, INDEX = "golden", "golden.json"
SCORES = "logits"
ARRAYS = ("model_input", "image_embedding", SCORES, "attention", "text_embedding")


@dataclass(frozen=True)
class Tolerance:
    """The allowed deviation of an output from the reference."""

    max_abs: float
    cosine: float  # minimum, over all rows of the last axis


@dataclass(frozen=True)
class Case:
    """One image, its prompt, and the greedy caption of the reference."""

    image: str  # a file of this folder
    lang: str
    style: str
    tokens: tuple[int, ...]  # without <eos>
    raw: str  # what they read as; the rest is None in bundles made before 2026-11-30
    boxes: tuple[tuple[float, ...], ...] | None = None  # x0 y0 x1 y1, px of the image, 3 decimals
    complete: bool | None = None  # an end token ended it


@dataclass(frozen=True)
class GoldenIndex:
    """golden.json."""

    schema: int
    cases: tuple[Case, ...]
    texts: tuple[str, ...]
    steps: int  # K
    tolerances: dict[str, Tolerance]  # for each of ARRAYS
    token_agreement: float  # 0-1: required share of cases with equal greedy tokens


@dataclass(frozen=True)
class Golden:
    """The index, the arrays by name, and the image files by name."""

    index: GoldenIndex
    arrays: dict[str, np.ndarray]
    images: dict[str, bytes]


def write_golden(directory: str | Path, golden: Golden) -> None:
    """Write the folder golden/ into a new bundle directory."""
    folder = Path(directory) / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / INDEX).write_bytes(dump(golden.index))
    for name, array in golden.arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    for name, data in golden.images.items():
        (folder / name).write_bytes(data)


def read_golden(bundle: Bundle) -> Golden:
    """The golden files of a bundle whose manifest is of schema 2, or upgraded to it.

    Raises BundleError if they are missing or do not match the manifest.
    """
    if f"{FOLDER}/{INDEX}" not in bundle.manifest.files:
        raise BundleError(
            "bundle.missing_file",
            f"{bundle.path} has no {FOLDER}/{INDEX}, which is needed to verify it.",
            "Verify the bundle that it was copied from.",
        )
    index = decode(GoldenIndex, bundle.json(f"{FOLDER}/{INDEX}"), "golden")
    if index.schema != SCHEMA or set(index.tolerances) != set(ARRAYS) or not index.cases:
        raise BundleError("bundle.golden", f"{INDEX} does not have schema {SCHEMA} and all arrays.")
    if index.steps < 1 or not index.texts:
        raise BundleError("bundle.golden", f"{INDEX} has no steps or no texts to compare.")
    dims = bundle.manifest.interface.dims
    if not {"h", "w", "E", "V", "P"} <= dims.keys():
        raise BundleError("bundle.golden", f"{INDEX} compares outputs that this model lacks.")
    if any(not 0 <= token < dims["V"] for case in index.cases for token in case.tokens):
        raise BundleError("bundle.golden", f"{INDEX} has tokens outside the vocabulary.")
    N, K, M = len(index.cases), index.steps, len(index.texts)
    shapes = {
        "model_input": (N, dims["h"], dims["w"], 3),
        "image_embedding": (N, dims["E"]),
        "logits": (N, K, dims["V"]),
        "attention": (N, K, dims["P"]),
        "text_embedding": (M, dims["E"]),
    }
    arrays = {name: _read_array(bundle, name, shape) for name, shape in shapes.items()}
    images = {case.image: _read_image(bundle, f"{FOLDER}/{case.image}") for case in index.cases}
    return Golden(index, arrays, images)


def measure(
    output: str, expected: np.ndarray, actual: np.ndarray, tolerances: Mapping[str, Tolerance]
) -> OutputParity:
    """Compare two arrays [N,…,X] of one shape; cosine is the smallest of any row along X."""
    if expected.shape != actual.shape:
        raise BundleError(
            "bundle.model",
            f"{output} has shape {list(actual.shape)}; the contract declares "
            f"{list(expected.shape)}.",
        )
    reference = expected.astype(np.float64)
    got = actual.astype(np.float64)
    # NaN and infinity count as 1e30, because JSON needs a finite number.
    difference = np.nan_to_num(np.abs(reference - got), nan=1e30, posinf=1e30)
    worst = np.unravel_index(int(difference.argmax()), difference.shape)
    tolerance = tolerances[output]
    return OutputParity(
        output=output,
        max_abs=float(difference.max()),
        cosine=float(output_cosines(output, reference, got).min()),
        allowed_max_abs=tolerance.max_abs,
        allowed_cosine=tolerance.cosine,
        worst=f"index {', '.join(str(int(place)) for place in worst)}",
    )


def output_cosines(output: str, expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """`cosines` of the rows of an output, f64 [N,…].

    The mean of a row of logits is subtracted first: probabilities do not depend on it.
    """
    if output != SCORES:
        return cosines(expected, actual)
    with np.errstate(invalid="ignore"):  # of infinite rows
        wide = (rows.astype(np.float64) for rows in (expected, actual))
        return cosines(*(rows - rows.mean(-1, keepdims=True) for rows in wide))


def _read_image(bundle: Bundle, name: str) -> bytes:
    if name not in bundle.manifest.files:  # bundle.file accepts directories too
        raise BundleError("bundle.missing_file", f"{bundle.path} has no file {name}.")
    return bundle.file(name).read_bytes()


def _read_array(bundle: Bundle, name: str, shape: tuple[int, ...]) -> np.ndarray:
    path = bundle.file(f"{FOLDER}/{name}.npy")
    kind = np.dtype(np.uint8 if name == "model_input" else np.float32)
    try:
        # Memory-mapped, so that a header with a wrong size does not allocate memory.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy's header parser raises any error of Python's tokenizer
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BundleError("bundle.golden", f"{path.name} cannot be read: {reason}.") from None
    if not isinstance(array, np.ndarray):  # np.load returns another type for a zip archive
        raise BundleError("bundle.golden", f"{path.name} does not hold a single array.")
    if array.shape != shape or array.dtype != kind:
        raise BundleError(
            "bundle.golden",
            f"{path.name} is {array.dtype} {list(array.shape)}, not {kind} {list(shape)}.",
        )
    return np.array(array)
