"""`edgecap inspect`: what a bundle or a model file is, what is in it, and what goes in and out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.core.errors import BundleError

if TYPE_CHECKING:
    from edgecap.bundle.manifest import Contract, Manifest


DETAILS = """
Lists functions, inputs, outputs, operations and weights. A bundle's files are checked first. No
model runs and no engine is needed; a model file may come from anywhere, and is untrusted input.
"""


def run(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="Bundle directory, .mlpackage, .onnx or .tflite.")
    ],
    json_: Json = None,
) -> None:
    from edgecap.bundle.manifest import MANIFEST
    from edgecap.inspection import is_model, readers

    if is_model(path) and not (path / MANIFEST).is_file():
        _inspect_model(path, json_)
    elif path.is_file():
        packed = path.suffix.lower() in (".zip", ".tgz", ".gz", ".tar")
        raise BundleError(
            "bundle.missing",
            f"{path} is a file and none of {', '.join(readers())}; a bundle is a directory.",
            "Unpack it and give its directory." if packed else "",
        )
    else:
        _inspect_bundle(path, json_)


def _inspect_model(path: Path, json_: str | None) -> None:
    from edgecap.cli._contents import show_contents
    from edgecap.inspection import read_contents

    contents = read_contents(path)
    write_json(asdict(contents), json_)
    if json_ != STANDARD_OUTPUT:
        show_contents(path.name, contents)


def _inspect_bundle(path: Path, json_: str | None) -> None:
    from edgecap.bundle.io import open_bundle
    from edgecap.cli._contents import show_contents
    from edgecap.inspection import is_model, read_contents

    bundle = open_bundle(path)
    functions = bundle.manifest.contract.functions.values()
    names = sorted({function.file for function in functions if is_model(Path(function.file))})
    models = {name: read_contents(bundle.file(name)) for name in names}
    contents = {name: asdict(model) for name, model in models.items()}
    write_json(asdict(bundle.manifest) | {"contents": contents}, json_)
    if json_ == STANDARD_OUTPUT:
        return
    _show(bundle.manifest)
    for name, model in models.items():
        typer.echo()
        show_contents(name, model)


def _show(manifest: Manifest) -> None:
    from rich.console import Console
    from rich.table import Table

    from edgecap.cli._contents import plain

    console = Console(markup=False)
    facts = Table(title=plain(manifest.name), title_justify="left", show_header=False)
    rows = {
        "format": f"{manifest.format} {manifest.precision}",
        "languages": " ".join(manifest.languages),
        "styles": " ".join(manifest.styles),
        "input": f"{manifest.preprocessing.size} px, {manifest.preprocessing.resample}",
        "boxes": f"{manifest.coordinates.order}, {manifest.coordinates.bins} edges of "
        f"{manifest.coordinates.bin_px} px",
        "written by": " ".join(f"{name} {version}" for name, version in manifest.tools.items()),
        "licence": manifest.license,
    }
    for name, value in rows.items():
        facts.add_row(name, plain(value))
    console.print(facts)
    shapes = tensor_shapes(manifest.contract)
    for name, function in manifest.contract.functions.items():
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


def tensor_shapes(contract: Contract) -> dict[str, dict[str, str]]:
    """Function -> tensor -> "dtype [shape]", B standing for any batch."""
    from edgecap.bundle.manifest import ATTENTION

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
        "encode_text": {
            "tokens": f"int [{B},{T}]",
            "length": f"int [{B}]",
            "text_embedding": f"float [{B},{contract.embedding}]",
        },
    }
    by_head = {"attention": f"float [{B},{L},{H},{P}]"}
    return shapes | {ATTENTION: shapes["decode"] | by_head}
