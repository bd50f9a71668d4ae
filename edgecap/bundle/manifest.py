"""The bundle manifest, schema 2: any captioner or embedder, described by its interface.

Differences between models are data: the interface (functions, state, dims), image preprocessing,
the tokenizer, the generation settings of each named prompt, and the encoding of boxes. SPEC.md
describes it for other languages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgecap.bundle.files import MANIFEST, FileEntry, bad_manifest, check_files, is_listed
from edgecap.bundle.generation_spec import GenerationSpec, check_generation_spec
from edgecap.bundle.grammar import Grammar, check_grammar
from edgecap.bundle.image_spec import ImageSpec, check_image_spec
from edgecap.bundle.interface import (
    DECODE,
    DECODE_ATTENTION,
    DECODE_STATEFUL,
    ENCODE,
    ENCODE_CROP,
    ENCODE_TEXT,
    EXTEND,
    Interface,
)
from edgecap.bundle.interface import checked as checked_interface
from edgecap.bundle.regions_spec import RegionsSpec, check_regions_spec
from edgecap.core.errors import BundleError
from edgecap.core.typed import decode

SCHEMA = 2
FUNCTIONS = (
    ENCODE_CROP,
    ENCODE,
    DECODE,
    DECODE_ATTENTION,
    DECODE_STATEFUL,
    EXTEND,
    ENCODE_TEXT,
)


@dataclass(frozen=True)
class Function:
    """The location of one function: file, entry point, and the target's names of its tensors."""

    file: str  # a listed file, or a directory named *.mlpackage of listed files
    entry: str
    inputs: dict[str, str]  # name in the interface -> the target's name
    outputs: dict[str, str]


@dataclass(frozen=True)
class ModelInfo:
    """The origin of the weights."""

    family: str
    source: str  # the name of the checkpoint
    license: str  # as stated by the checkpoint, or "unknown"
    weights: str | None = None  # hex SHA-256 of its weights; null if unknown


@dataclass(frozen=True)
class TextFrame:
    """The ids around a text to embed, where `encoder` does not add them."""

    begin: tuple[int, ...]
    end: tuple[int, ...]
    pad: int  # fills up to N


@dataclass(frozen=True)
class Manifest:
    """The complete description of a schema 2 bundle for a host."""

    schema: int
    name: str
    model: ModelInfo
    format: str
    precision: str
    interface: Interface
    functions: dict[str, Function]  # one per function of the interface
    image: ImageSpec
    tokenizer: str | None  # listed file of the text spec; null for models without decode
    encoder: str | None  # listed file that turns text into ids; null if only prompts are supported
    prompts: dict[str, GenerationSpec]  # by name; the first is the default
    regions: RegionsSpec | None
    plan: dict[str, Any]
    tools: dict[str, str]  # package -> version that wrote this bundle
    files: dict[str, FileEntry]  # every file but the manifest itself
    # Only of models whose prompts are one per language and style, named "<language>.<style>":
    languages: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    grammar: Grammar | None = None  # which tokens may follow which; null: any
    texts: TextFrame | None = None

    @property
    def batch(self) -> int | None:
        """1: the graphs take one image at a time; None: any number."""
        return self.interface.batch

    @property
    def default_prompt(self) -> str:
        """The prompt that is used by default."""
        return next(iter(self.prompts))

    def with_files(self, files: Mapping[str, FileEntry]) -> Manifest:
        """The same manifest with these files, checked."""
        listed = replace(self, files=dict(files))
        check_manifest(listed)
        return listed


def manifest_from_json(value: dict[str, Any]) -> Manifest:
    """A checked manifest from plain JSON values; raises BundleError."""
    manifest = decode(Manifest, value, "manifest")
    check_manifest(manifest)
    return manifest


def prompt_name(language: str, style: str) -> str:
    """The name of the prompt of a language and a style."""
    return f"{language}.{style}"


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """The plain JSON values of a manifest; optional fields that are not used are left out."""
    value = asdict(manifest)
    unused = [name for name in ("languages", "styles", "grammar", "texts") if not value[name]]
    return {name: one for name, one in value.items() if name not in unused}


def check_manifest(manifest: Manifest) -> None:
    """Raise BundleError if the manifest is inconsistent or not supported by this host."""
    check_files(manifest.files)
    checked_interface(manifest.interface)
    check_image_spec(manifest.image)
    _check_functions(manifest)
    _check_text(manifest)
    _check_image(manifest)
    weights = manifest.model.weights
    if weights is not None and not re.fullmatch(r"[0-9a-f]{64}", weights):
        raise bad_manifest("model.weights must be null or a SHA-256")


def _check_image(manifest: Manifest) -> None:
    image, interface = manifest.image, manifest.interface
    h, w = interface.sizes(interface.image.shape, 1)[1:3]
    if image.input_size != (h, w):
        raise bad_manifest(f"image has the size {image.input_size}, but encode takes {(h, w)}")
    if bool(image.grids) != interface.has(ENCODE_CROP):
        raise bad_manifest(
            "a model has encode_crop if its image is split into crops, and only then"
        )
    if image.grids and image.most_crops != interface.dims["n"]:
        raise bad_manifest(
            f"an image makes up to {image.most_crops} crops, and dims.n is another number"
        )


def _check_functions(manifest: Manifest) -> None:
    declared = {spec.name: spec for spec in manifest.interface.functions}
    if set(declared) != set(manifest.functions) or not set(declared) <= set(FUNCTIONS):
        raise bad_manifest(
            f"functions must be those of the interface; known: {', '.join(FUNCTIONS)}"
        )
    for name, function in manifest.functions.items():
        spec = declared[name]
        if set(function.inputs) != set(spec.inputs) or set(function.outputs) != set(spec.outputs):
            raise bad_manifest(f"functions.{name} must map exactly the tensors of the interface")
        if not is_listed(manifest.files, function.file):
            raise BundleError("bundle.missing_file", f"{function.file} of {name} is not listed.")


def _check_text(manifest: Manifest) -> None:
    captions = manifest.interface.has(DECODE)
    if captions != (manifest.tokenizer is not None) or captions != bool(manifest.prompts):
        raise bad_manifest("a model needs a tokenizer and prompts if it has decode, and only then")
    for file in (manifest.tokenizer, manifest.encoder):
        if file is not None and file not in manifest.files:
            raise BundleError("bundle.missing_file", f"{file} is not listed.")
    if not captions:
        return
    V, T = manifest.interface.dims["V"], manifest.interface.dims.get("T")
    if T is None:
        raise BundleError("bundle.interface", f"{MANIFEST}: interface.dims lacks T, the text rows.")
    for name, spec in manifest.prompts.items():
        check_generation_spec(spec, f"prompts.{name}", V)
        if len(spec.begin) + spec.max_new_tokens - 1 > T:
            raise bad_manifest(
                f"prompts.{name} feeds {len(spec.begin)} ids and generates up to "
                f"{spec.max_new_tokens}; the state has {T} text rows"
            )
    if manifest.regions is not None:
        check_regions_spec(manifest.regions, "regions", V)
    if manifest.grammar is not None:
        check_grammar(manifest.grammar, V)
    if bool(manifest.languages) != bool(manifest.styles):
        raise bad_manifest("languages and styles go together")
    needed = {prompt_name(n, style) for n in manifest.languages for style in manifest.styles}
    if needed and needed != set(manifest.prompts):
        raise bad_manifest("there must be a prompt for each language and style, and no other")
