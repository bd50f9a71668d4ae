"""A bundle's manifest, of either schema, as text and tables."""

from __future__ import annotations

from typing import TypeAlias

import typer

from edgecap.bundle import manifest as schema1
from edgecap.bundle import schema2
from edgecap.bundle.interface import TensorSpec
from edgecap.cli._contents import plain

Manifest: TypeAlias = schema1.Manifest | schema2.Manifest
Shapes: TypeAlias = dict[str, dict[str, str]]  # function -> tensor -> "dtype [shape]"


def show_manifest(manifest: Manifest) -> None:
    """Facts, functions with their tensors, and files."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False)
    if isinstance(manifest, schema2.Manifest):
        facts, shapes = _facts_of_interface(manifest), _declared_shapes(manifest)
    else:
        facts, shapes = _facts_of_contract(manifest), tensor_shapes(manifest.contract)
    table = Table(title=plain(manifest.name), title_justify="left", show_header=False)
    for name, value in facts.items():
        table.add_row(name, plain(value))
    console.print(table)
    for name, function in manifest.functions.items():
        typer.echo(f"{plain(name)}  ({plain(function.file)}, {plain(function.entry)})")
        for tensor, target in (*function.inputs.items(), *function.outputs.items()):
            arrow = "->" if tensor in function.inputs else "<-"
            called = "" if target == tensor else f"  as {plain(target)}"
            typer.echo(f"  {arrow} {plain(tensor):16} {shapes[name][tensor]}{called}")
    files = Table("file", "bytes", "sha256")
    for name, entry in manifest.files.items():
        files.add_row(plain(name), f"{entry.size:,}", entry.sha256[:16])
    console.print(files)
    total = sum(entry.size for entry in manifest.files.values())
    typer.echo(f"{len(manifest.files)} files, {total:,} bytes, all as listed")


def _facts_of_contract(manifest: schema1.Manifest) -> dict[str, str]:
    place = manifest.coordinates
    return {
        "format": f"{manifest.format} {manifest.precision}",
        "languages": " ".join(manifest.languages),
        "styles": " ".join(manifest.styles),
        "input": f"{manifest.preprocessing.size} px, {manifest.preprocessing.resample}",
        "boxes": f"{place.order}, {place.bins} edges of {place.bin_px} px",
        "written by": _versions(manifest.tools),
        "licence": manifest.license,
    }


def _facts_of_interface(manifest: schema2.Manifest) -> dict[str, str]:
    model, image = manifest.model, manifest.image
    h, w = image.input_size
    facts = {
        "format": f"{manifest.format} {manifest.precision}",
        "model": f"{model.family}, {model.source}",
        "prompts": " ".join(manifest.prompts) or "none: it embeds only",
        "input": f"{h} x {w} px, {image.fit}, {image.filter}",
        "state": f"{manifest.interface.state_bytes() / 1e6:.1f} MB for one image",
        "written by": _versions(manifest.tools),
        "licence": model.license,
    }
    if manifest.regions is not None:
        facts["boxes"] = manifest.regions.codec
    return facts


def _versions(tools: dict[str, str]) -> str:
    return " ".join(f"{name} {version}" for name, version in tools.items())


def _declared_shapes(manifest: schema2.Manifest) -> Shapes:
    """The same of schema 2, letters in numbers but for B."""
    dims = manifest.interface.dims
    return {
        spec.name: {
            name: f"{plain(tensor.dtype)} [{_sizes(tensor, dims)}]"
            for name, tensor in (*spec.inputs.items(), *spec.outputs.items())
        }
        for spec in manifest.interface.functions
    }


def _sizes(tensor: TensorSpec, dims: dict[str, int]) -> str:
    return ",".join(plain(str(dims.get(str(size), size))) for size in tensor.shape)


def tensor_shapes(contract: schema1.Contract) -> Shapes:
    """Function -> tensor -> "dtype [shape]", B standing for any batch."""
    B = "B" if contract.batch is None else str(contract.batch)
    L, H, K = contract.layers, contract.heads, contract.head_width
    P, T, C = contract.patches, contract.text_length, contract.context
    cache, new = f"{contract.cache} [{L},{B},{H}", f"{contract.cache} [{L},{B},{H},1,{K}]"
    shapes = {
        "encode_image": {
            "image": f"uint8 [{B},S,S,3]",
            "k": f"{cache},{P},{K}]",
            "v": f"{cache},{P},{K}]",
            "image_embedding": f"float [{B},{contract.embedding}]",
        },
        "decode": {
            "token": f"int [{B},1]",
            "position": f"int [{B}]",
            "k": f"{cache},{C},{K}]",
            "v": f"{cache},{C},{K}]",
            "logits": f"float [{B},{contract.vocabulary}]",
            "k_new": new,
            "v_new": new,
            "attention": f"float [{B},{P}]",
        },
        "decode_stateful": {
            "token": f"int [{B},1]",
            "position": f"int [{B}]",
            "k_image": f"{cache},{P},{K}]",
            "v_image": f"{cache},{P},{K}]",
            "logits": f"float [{B},{contract.vocabulary}]",
            "attention": f"float [{B},{P}]",
        },
        "extend": {
            "tokens": f"int [{B},n]",
            "position": f"int [{B}]",
            "k": f"{cache},{C},{K}]",
            "v": f"{cache},{C},{K}]",
            "logits": f"float [{B},n,{contract.vocabulary}]",
            "k_new": f"{cache},n,{K}]",
            "v_new": f"{cache},n,{K}]",
        },
        "encode_text": {
            "tokens": f"int [{B},{T}]",
            "length": f"int [{B}]",
            "text_embedding": f"float [{B},{contract.embedding}]",
        },
    }
    by_head = {"attention": f"float [{B},{L},{H},{P}]"}
    return shapes | {schema1.ATTENTION: shapes["decode"] | by_head}
