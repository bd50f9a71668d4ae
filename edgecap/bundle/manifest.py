"""The bundle manifest, schema 1. SPEC.md describes it for other languages.

Letters: B batch, P image patches, T text tokens, D width, H heads, L layers, V vocabulary,
E shared embedding; Tmax = P + T rows of the cache, Dh = D / H.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from edgecap.bundle import schema2
from edgecap.bundle.grammar import Grammar, check_grammar
from edgecap.bundle.schema2 import PACKAGE, FileEntry, Function
from edgecap.core.errors import BundleError
from edgecap.core.typed import decode

SCHEMA = 1
MANIFEST, TOKENIZER, CERTIFICATE, CARD = (
    "manifest.json",
    "tokenizer.json",
    "parity.json",
    "README.md",
)
PLAN = "plan.json"  # the quantisation plan, in int8 bundles
SEARCH, FRONT = "search.json", "pareto.png"  # the search that found the plan, if there was one
MAX_CACHE_BYTES = 2 << 30
MAX_FOLDERS = 4  # model.mlpackage/Data/com.apple.CoreML/weights/weight.bin

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


AnyManifest: TypeAlias = Manifest | schema2.Manifest


def manifest_from_json(value: Any) -> AnyManifest:
    """A checked manifest of schema 1 or 2 from plain JSON values; raises BundleError."""
    if isinstance(value, dict) and value.get("schema") == schema2.SCHEMA:
        return schema2.manifest_from_json(value)
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        found = value.get("schema") if isinstance(value, dict) else None
        raise BundleError(
            "bundle.schema",
            f"{MANIFEST} has schema {found!r}; this edgecap reads schemas {SCHEMA} and "
            f"{schema2.SCHEMA}.",
            "Export the bundle again, or use the edgecap that wrote it.",
        )
    manifest = decode(Manifest, value, "manifest")
    check_manifest(manifest)
    return manifest


def check_manifest(manifest: Manifest) -> None:
    """Raise BundleError if the manifest is inconsistent or not supported by this host."""
    for name, entry in manifest.files.items():
        check_name(name)
        if not re.fullmatch(r"[0-9a-f]{64}", entry.sha256) or entry.size < 0:
            raise _bad(f"files.{name} has no valid SHA-256 and size")
    if len({name.casefold() for name in manifest.files}) != len(manifest.files):
        raise _bad("two files differ in upper and lower case only")
    _check_contract(manifest)
    preprocessing = manifest.preprocessing
    modes = (preprocessing.fit, preprocessing.resample, preprocessing.anchor)
    if modes != ("contain", "bilinear", "centre") or preprocessing.channels != "RGB":
        raise _bad(f"preprocessing {modes} {preprocessing.channels} is not supported")
    if not 1 <= preprocessing.size <= 4096 or not 0 <= preprocessing.fill <= 255:
        raise _bad("preprocessing.size must be 1-4096 and fill 0-255")
    coordinates = manifest.coordinates
    if coordinates.order != "x0y0x1y1" or coordinates.bins < 2 or coordinates.bin_px < 1:
        raise _bad(f"coordinates {coordinates.order}, {coordinates.bins} bins: not supported")
    check_grammar(manifest.grammar, manifest.contract.vocabulary)
    if manifest.weights is not None and not re.fullmatch(r"[0-9a-f]{64}", manifest.weights):
        raise _bad("weights must be null or a SHA-256")
    if not manifest.languages or not manifest.styles:
        raise _bad("languages and styles must not be empty")
    if manifest.tokenizer.file not in manifest.files:
        raise BundleError("bundle.missing_file", f"{manifest.tokenizer.file} is not listed.")
    if manifest.files[manifest.tokenizer.file].sha256 != manifest.tokenizer.sha256:
        raise _bad("tokenizer.sha256 is not that of the tokenizer file")


def _check_contract(manifest: Manifest) -> None:
    contract = manifest.contract
    shape = [contract.layers, contract.heads, contract.head_width, contract.patches]
    shape += [contract.text_length, contract.vocabulary, contract.embedding]
    if min(shape) < 1 or contract.grid**2 != contract.patches:
        raise _bad("contract sizes must be positive, and patches must be a square number")
    rows = contract.layers * contract.heads * contract.context * contract.head_width
    if 8 * rows > MAX_CACHE_BYTES or contract.vocabulary > 1 << 22 or contract.embedding > 1 << 16:
        raise BundleError("bundle.oversized", f"a cache of {8 * rows} bytes is too large.")
    if contract.cache not in ("float32", "float16"):
        raise _bad(f"contract.cache is {contract.cache!r}; allowed: float32, float16")
    if contract.batch not in (None, 1):
        raise _bad("contract.batch must be null (any) or 1")
    known = FUNCTIONS | OPTIONAL_FUNCTIONS
    if not FUNCTIONS.keys() <= contract.functions.keys() <= known.keys():
        raise _bad(f"contract.functions must be {', '.join(FUNCTIONS)}; one is missing or unknown")
    for name, function in contract.functions.items():
        inputs, outputs = known[name]
        if set(function.inputs) != set(inputs) or set(function.outputs) != set(outputs):
            raise _bad(f"{name} must map exactly {', '.join(inputs)} to {', '.join(outputs)}")
        if not is_listed(manifest, function.file):
            raise BundleError("bundle.missing_file", f"{function.file} of {name} is not listed.")


def is_listed(manifest: AnyManifest, name: str) -> bool:
    """Whether `name` is a listed file, or a *.mlpackage directory that holds listed files."""
    package = name.endswith(PACKAGE) and any(file.startswith(f"{name}/") for file in manifest.files)
    return package or name in manifest.files


def check_name(name: str) -> None:
    """Raise BundleError unless `name` is a plain relative path inside the bundle."""
    parts = name.split("/")
    plain = all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", part) for part in parts)
    if not plain or len(parts) > MAX_FOLDERS + 1:
        raise BundleError(
            "bundle.path",
            f"{name!r} is not a plain path inside the bundle (letters, digits, _ - . and /).",
        )
    if name == MANIFEST:
        raise BundleError("bundle.path", f"{MANIFEST} must not list itself.")


def _bad(message: str) -> BundleError:
    return BundleError("bundle.manifest", f"{MANIFEST}: {message}.")
