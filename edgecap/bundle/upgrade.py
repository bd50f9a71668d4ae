"""A manifest of schema 1 in the terms of schema 2, so that hosts run one kind of bundle.

Schema 1 describes one architecture: its cache holds image rows and then text rows of all layers, a
prompt is a language and a style, and boxes are four edges. Nothing is written; the file stays as it
is.

Letters as in interface.py.
"""

from __future__ import annotations

from collections.abc import Callable

from edgecap.bundle import schema1
from edgecap.bundle.cached import FAMILY, by_contract, cached_interface, language_prompts
from edgecap.bundle.image_spec import letterboxed
from edgecap.bundle.manifest import SCHEMA, Manifest, ModelInfo, TextFrame, check_manifest
from edgecap.bundle.regions_spec import RegionsSpec
from edgecap.core.errors import BundleError


def upgraded(old: schema1.Manifest, id_of: Callable[[str], int], known: int) -> Manifest:
    """The same bundle as a manifest of schema 2.

    Its `tokenizer` and its `encoder` are one file, of which a host makes the text specification.

    Args:
        old: a checked manifest.
        id_of: the id of a token by name; BundleError (tokenizer.token) for one that is missing.
        known: number of ids of the tokenizer.

    Raises:
        BundleError (tokenizer.*) if the tokenizer does not fit the manifest.
    """
    contract, place = old.contract, old.coordinates
    V, T = contract.vocabulary, contract.text_length
    if known > V:
        raise BundleError("tokenizer.size", f"the tokenizer has {known} tokens and the model {V}.")
    first = id_of(place.first)
    if first + place.bins > known:
        raise BundleError("tokenizer.token", f"there are fewer than {place.bins} locations.")
    pad, eos = id_of(old.tokenizer.pad), id_of(old.tokenizer.eos)
    # `extend` is left out: schema 1 does not say how many tokens it takes.
    places = {name: f for name, f in old.functions.items() if name != schema1.EXTEND}
    functions = by_contract(places)
    manifest = Manifest(
        schema=SCHEMA,
        name=old.name,
        model=ModelInfo(FAMILY, old.model, old.license, old.weights),
        format=old.format,
        precision=old.precision,
        interface=cached_interface(
            {
                "L": contract.layers,
                "H": contract.heads,
                "Dh": contract.head_width,
                "P": contract.patches,
                "T": T,
                "V": V,
                "E": contract.embedding,
                "h": old.preprocessing.size,
                "w": old.preprocessing.size,
            },
            functions,
            contract.cache,
            contract.batch,
        ),
        functions=functions,
        image=letterboxed(old.preprocessing.size, old.preprocessing.fill),
        tokenizer=old.tokenizer.file,
        encoder=old.tokenizer.file,
        prompts=language_prompts(
            {language: id_of(f"<{language}>") for language in old.languages},
            {style: id_of(f"<{style}>") for style in old.styles},
            eos,
            pad,
            T,
        ),
        regions=RegionsSpec("edges4", first, place.bins, place.bin_px),
        plan=old.plan,
        tools=old.tools,
        files=old.files,
        languages=old.languages,
        styles=old.styles,
        grammar=old.grammar,
        texts=TextFrame((id_of(old.tokenizer.text),), (eos,), pad),
    )
    if old.files:  # a model in memory has none
        check_manifest(manifest)
    return manifest
