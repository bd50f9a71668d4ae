"""The manifest of older bundles, schema 1, which are read and no longer written.

SPEC.md describes it for other languages; upgrade.py turns it into a manifest of today.

Letters: B batch, P image patches, T text tokens, D width, H heads, L layers, V vocabulary,
E shared embedding; Tmax = P + T rows of the cache, Dh = D / H.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgecap.bundle.files import FileEntry, bad_manifest, check_files, is_listed
from edgecap.bundle.grammar import Grammar, check_grammar
from edgecap.bundle.manifest import Function
from edgecap.core.errors import BundleError

SCHEMA = 1
MAX_CACHE_BYTES = 2 << 30

# The graph contract: every input and output by name. A manifest maps them to the target's names.
FUNCTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "encode_image": (("image",), ("k", "v", "image_embedding")),
    "decode": (("token", "position", "k", "v"), ("logits", "k_new", "v_new", "attention")),
    "encode_text": (("tokens", "length"), ("text_embedding",)),
}
# Optional functions: a step that keeps its text rows in a CoreML state, one that returns the
# attention of every layer and head, and one that feeds several tokens at once.
STATEFUL, ATTENTION, EXTEND = "decode_stateful", "decode_attention", "extend"
OPTIONAL_FUNCTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    STATEFUL: (("token", "position", "k_image", "v_image"), ("logits", "attention")),
    ATTENTION: FUNCTIONS["decode"],
    EXTEND: (("tokens", "position", "k", "v"), ("logits", "k_new", "v_new")),
}


def identity_names(file: str, name: str) -> Function:
    """A function whose entry point and tensors have the contract's names."""
    inputs, outputs = (FUNCTIONS | OPTIONAL_FUNCTIONS)[name]
    return Function(file, name, {n: n for n in inputs}, {n: n for n in outputs})


@dataclass(frozen=True)
class Contract:
    """The shapes of all functions."""

    layers: int  # L
    heads: int  # H
    head_width: int  # Dh
    patches: int  # P
    text_length: int  # T
    vocabulary: int  # V
    embedding: int  # E
    cache: str  # dtype of k and v: float32 or float16
    batch: int | None  # 1: the graphs take one image at a time; null: any B
    functions: dict[str, Function]

    @property
    def context(self) -> int:
        """Tmax: rows of the cache, image first."""
        return self.patches + self.text_length

    @property
    def grid(self) -> int:
        """The number of patches along one side."""
        return round(self.patches**0.5)


@dataclass(frozen=True)
class Preprocessing:
    """From an image to the model input uint8 [size,size,3]; parameters of runtime.preprocess."""

    size: int  # px, side of the square model input
    fit: str  # contain: keep the aspect; the longer side fills the model input
    resample: str  # bilinear, antialiased when shrinking
    anchor: str  # centre
    fill: int  # grey 0-255 of the padding, and behind transparent pixels
    channels: str  # RGB


@dataclass(frozen=True)
class TokenizerInfo:
    """tokenizer.json, and the names of the tokens that the host needs."""

    file: str
    sha256: str
    pad: str
    eos: str
    text: str  # the first token of a text to embed


@dataclass(frozen=True)
class Coordinates:
    """Boxes as location tokens: four per box, in bins of `bin_px` px of the model input."""

    order: str  # x0y0x1y1
    bins: int
    bin_px: int
    first: str  # the token of bin 0; the others follow in the vocabulary


@dataclass(frozen=True)
class Manifest:
    """The complete description of a bundle for a host."""

    schema: int
    name: str
    model: str
    format: str
    precision: str
    contract: Contract
    preprocessing: Preprocessing
    tokenizer: TokenizerInfo
    languages: tuple[str, ...]
    styles: tuple[str, ...]
    coordinates: Coordinates
    grammar: Grammar  # which tokens may follow which
    plan: dict[str, Any]  # the quantisation plan, as made by edgecap.quant
    tools: dict[str, str]  # package -> version that wrote this bundle
    license: str
    files: dict[str, FileEntry]  # every file but the manifest itself
    weights: str | None = None  # hex SHA-256 of the weights file; null if unknown

    @property
    def functions(self) -> dict[str, Function]:
        """The location of each function."""
        return self.contract.functions

    @property
    def batch(self) -> int | None:
        """1: the graphs take one image at a time; None: any number."""
        return self.contract.batch

    def with_files(self, files: Mapping[str, FileEntry]) -> Manifest:
        """The same manifest with these files, checked."""
        tokenizer = self.tokenizer
        if tokenizer.file not in files:
            raise BundleError("bundle.missing_file", f"there is no {tokenizer.file}.")
        tokenizer = replace(tokenizer, sha256=files[tokenizer.file].sha256)
        listed = replace(self, files=dict(files), tokenizer=tokenizer)
        check_manifest(listed)
        return listed


def check_manifest(manifest: Manifest) -> None:
    """Raise BundleError if the manifest is inconsistent or not supported by this host."""
    check_files(manifest.files)
    _check_contract(manifest)
    preprocessing = manifest.preprocessing
    modes = (preprocessing.fit, preprocessing.resample, preprocessing.anchor)
    if modes != ("contain", "bilinear", "centre") or preprocessing.channels != "RGB":
        raise bad_manifest(f"preprocessing {modes} {preprocessing.channels} is not supported")
    if not 1 <= preprocessing.size <= 4096 or not 0 <= preprocessing.fill <= 255:
        raise bad_manifest("preprocessing.size must be 1-4096 and fill 0-255")
    coordinates = manifest.coordinates
    if coordinates.order != "x0y0x1y1" or coordinates.bins < 2 or coordinates.bin_px < 1:
        raise bad_manifest(
            f"coordinates {coordinates.order}, {coordinates.bins} bins: not supported"
        )
    check_grammar(manifest.grammar, manifest.contract.vocabulary)
    if manifest.weights is not None and not re.fullmatch(r"[0-9a-f]{64}", manifest.weights):
        raise bad_manifest("weights must be null or a SHA-256")
    if not manifest.languages or not manifest.styles:
        raise bad_manifest("languages and styles must not be empty")
    if manifest.tokenizer.file not in manifest.files:
        raise BundleError("bundle.missing_file", f"{manifest.tokenizer.file} is not listed.")
    if manifest.files[manifest.tokenizer.file].sha256 != manifest.tokenizer.sha256:
        raise bad_manifest("tokenizer.sha256 is not that of the tokenizer file")


def _check_contract(manifest: Manifest) -> None:
    contract = manifest.contract
    shape = [contract.layers, contract.heads, contract.head_width, contract.patches]
    shape += [contract.text_length, contract.vocabulary, contract.embedding]
    if min(shape) < 1 or contract.grid**2 != contract.patches:
        raise bad_manifest("contract sizes must be positive, and patches must be a square number")
    rows = contract.layers * contract.heads * contract.context * contract.head_width
    if 8 * rows > MAX_CACHE_BYTES or contract.vocabulary > 1 << 22 or contract.embedding > 1 << 16:
        raise BundleError("bundle.oversized", f"a cache of {8 * rows} bytes is too large.")
    if contract.cache not in ("float32", "float16"):
        raise bad_manifest(f"contract.cache is {contract.cache!r}; allowed: float32, float16")
    if contract.batch not in (None, 1):
        raise bad_manifest("contract.batch must be null (any) or 1")
    known = FUNCTIONS | OPTIONAL_FUNCTIONS
    if not FUNCTIONS.keys() <= contract.functions.keys() <= known.keys():
        raise bad_manifest(
            f"contract.functions must be {', '.join(FUNCTIONS)}; one is missing or unknown"
        )
    for name, function in contract.functions.items():
        inputs, outputs = known[name]
        if set(function.inputs) != set(inputs) or set(function.outputs) != set(outputs):
            raise bad_manifest(
                f"{name} must map exactly {', '.join(inputs)} to {', '.join(outputs)}"
            )
        if not is_listed(manifest.files, function.file):
            raise BundleError("bundle.missing_file", f"{function.file} of {name} is not listed.")
