"""`edgecap inspect`: what a bundle is, what is in it, and what goes in and out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgecap.bundle.manifest import Contract, Manifest


def run(
    bundle: Annotated[Path, typer.Argument(help="The bundle's directory.")],
    json_: Annotated[bool, typer.Option("--json", help="The manifest on standard output.")] = False,
) -> None:
    """Check a bundle's files and show its manifest, graph inputs and outputs, and sizes.

    Runs no model: no runtime package is needed.
    """
    from edgecap.bundle.io import open_bundle

    manifest = open_bundle(bundle).manifest
    if json_:
        import json

        typer.echo(json.dumps(asdict(manifest), ensure_ascii=False, indent=1))
    else:
        _show(manifest)


def _show(manifest: Manifest) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    facts = Table(title=manifest.name, title_justify="left", show_header=False)
    rows = {
        "format": f"{manifest.format} {manifest.precision}",
        "languages": " ".join(manifest.languages),
        "styles": " ".join(manifest.styles),
        "canvas": f"{manifest.preprocessing.size} px, {manifest.preprocessing.resample}",
        "boxes": f"{manifest.coordinates.order}, {manifest.coordinates.bins} edges of "
        f"{manifest.coordinates.bin_px} px",
        "written by": " ".join(f"{name} {version}" for name, version in manifest.tools.items()),
        "licence": manifest.license,
    }
    for name, value in rows.items():
        facts.add_row(name, value)
    console.print(facts)
    shapes = tensor_shapes(manifest.contract)
    for name, function in manifest.contract.functions.items():
        typer.echo(f"{name}  ({function.file}, {function.entry})")
        for tensor, target in (*function.inputs.items(), *function.outputs.items()):
            arrow = "->" if tensor in function.inputs else "<-"
            called = "" if target == tensor else f"  as {target}"
            typer.echo(f"  {arrow} {tensor:16} {shapes[name][tensor]}{called}")
    files = Table("file", "bytes", "sha256")
    for name, entry in manifest.files.items():
        files.add_row(name, f"{entry.size:,}", entry.sha256[:16])
    console.print(files)
    total = sum(entry.size for entry in manifest.files.values())
    typer.echo(f"{len(manifest.files)} files, {total:,} bytes, all as listed")


def tensor_shapes(contract: Contract) -> dict[str, dict[str, str]]:
    """Function -> tensor -> "dtype [shape]", B standing for any batch."""
    B = "B" if contract.batch is None else str(contract.batch)
    L, H, K = contract.layers, contract.heads, contract.head_width
    P, T, C = contract.patches, contract.text_length, contract.context
    cache, new = f"{contract.cache} [{L},{B},{H}", f"{contract.cache} [{L},{B},{H},1,{K}]"
    return {
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
        "encode_text": {
            "tokens": f"int [{B},{T}]",
            "length": f"int [{B}]",
            "text_embedding": f"float [{B},{contract.embedding}]",
        },
    }
