"""A bundle's manifest as text and tables."""

from __future__ import annotations

from typing import TypeAlias

import typer

from edgecap.bundle.interface import BATCH, TensorSpec
from edgecap.bundle.manifest import Manifest
from edgecap.cli._contents import plain

Shapes: TypeAlias = dict[str, dict[str, str]]  # function -> tensor -> "dtype [shape]"


def show_manifest(manifest: Manifest) -> None:
    """Facts, functions with their tensors, and files."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False)
    facts, shapes = _facts(manifest), _declared_shapes(manifest)
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


def _facts(manifest: Manifest) -> dict[str, str]:
    model, image = manifest.model, manifest.image
    h, w = image.input_size
    facts = {
        "format": f"{manifest.format} {manifest.precision}",
        "model": f"{model.family}, {model.source}",
        **_prompts(manifest),
        "input": f"{h} x {w} px, {image.fit}, {image.filter}"
        + (f", up to {image.most_crops} crops" if image.grids else ""),
        "state": f"{manifest.interface.state_bytes() / 1e6:.1f} MB for one image",
        "written by": _versions(manifest.tools),
        "licence": model.license,
    }
    if manifest.regions is not None:
        facts["boxes"] = f"{manifest.regions.codec}, {manifest.regions.count} places"
    return facts


def _prompts(manifest: Manifest) -> dict[str, str]:
    if manifest.languages:
        return {"languages": " ".join(manifest.languages), "styles": " ".join(manifest.styles)}
    return {"prompts": " ".join(manifest.prompts) or "none: it embeds only"}


def _versions(tools: dict[str, str]) -> str:
    return " ".join(f"{name} {version}" for name, version in tools.items())


def _declared_shapes(manifest: Manifest) -> Shapes:
    """Letters in numbers; B too, where the graphs take one image at a time."""
    interface = manifest.interface
    dims = interface.dims | ({} if interface.batch is None else {BATCH: interface.batch})
    return {
        spec.name: {
            name: f"{plain(tensor.dtype)} [{_sizes(tensor, dims)}]"
            for name, tensor in (*spec.inputs.items(), *spec.outputs.items())
        }
        for spec in interface.functions
    }


def _sizes(tensor: TensorSpec, dims: dict[str, int]) -> str:
    return ",".join(plain(str(dims.get(str(size), size))) for size in tensor.shape)
