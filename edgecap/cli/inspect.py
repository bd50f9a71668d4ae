"""`edgecap inspect`: what a bundle or a model file is, what is in it, and what goes in and out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.core import hub
from edgecap.core.errors import BundleError

DETAILS = """
Lists functions, inputs, outputs, operations and weights. A bundle's files are checked first. No
model runs and no engine is needed. Files are treated as untrusted input.
"""


def run(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="Bundle directory, .mlpackage, .onnx or .tflite.")
    ],
    json_: Json = None,
) -> None:
    from edgecap.bundle.container import is_container
    from edgecap.bundle.files import MANIFEST
    from edgecap.inspection import is_model, readers

    path = hub.resolve(path)
    if is_model(path) and not (path / MANIFEST).is_file():
        _inspect_model(path, json_)
    elif path.is_file() and not is_container(path):
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
    from edgecap.cli._manifests import show_manifest
    from edgecap.inspection import is_model, read_contents
    from edgecap.runtime.loading import as_schema2

    bundle = open_bundle(path)
    functions = bundle.manifest.functions.values()
    names = sorted({function.file for function in functions if is_model(Path(function.file))})
    models = {name: read_contents(bundle.file(name)) for name in names}
    contents = {name: asdict(model) for name, model in models.items()}
    write_json(asdict(bundle.manifest) | {"contents": contents}, json_)
    if json_ == STANDARD_OUTPUT:
        return
    show_manifest(as_schema2(bundle).manifest)
    for name, model in models.items():
        typer.echo()
        show_contents(name, model)
