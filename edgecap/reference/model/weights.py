"""Weights of a captioner: one float16 safetensors file with its configuration as metadata.

The file's metadata holds `format` (edgecap.captioner.1), `config` (JSON of CaptionerConfig),
`training` (JSON, facts for the model card) and, where the model has more than the eight
languages, `extension` (JSON of edgecap.reference.extension.Extension). Never pickle.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.core.atomic import write_file
from edgecap.core.choices import pick
from edgecap.core.errors import InputError
from edgecap.core.lazy import require
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.extension import SHIPPED, Extension
from edgecap.reference.shipped import PREFIX, SUFFIX, called, shipped

if TYPE_CHECKING:
    import torch

    from edgecap.reference.model.captioner import CaptionModel

FORMAT = "edgecap.captioner.1"


def resolve(model: str) -> tuple[str, Path]:
    """The name and the file of `model`: a shipped name ("S", "captioner-S") or a path.

    Raises InputError where it is neither.
    """
    path = Path(model)
    if path.suffix == SUFFIX or len(path.parts) > 1 or path.is_dir():
        if not path.is_file():
            what = "is a directory" if path.is_dir() else "does not exist"
            raise InputError("weights.missing", f"{path} {what}; a {SUFFIX} file is needed.")
        return path.stem, path
    models = shipped()
    if not models:
        raise InputError(
            "weights.missing",
            f"this package ships no weights, so there is no model {model!r}.",
            f"Give the path of a {SUFFIX} file, or make one with: edgecap train",
        )
    name = pick("model", called(model), models)
    return f"{PREFIX}{name}", models[name]


def load(path: str | Path) -> CaptionModel:
    """The captioner in `path`, float32, in evaluation mode.

    Raises InputError for a file that is not a captioner's safetensors file, or whose tensors are
    missing, unknown, of another shape or dtype, or not finite.
    """
    torch = require("torch", "torch")
    from edgecap.reference.model.captioner import CaptionModel

    metadata, tensors = _read(Path(path))
    config = _config(Path(path), metadata)
    if config.layers > len(tensors):  # building a model of a million layers would take long
        raise InputError(
            "weights.tensors",
            f"{path} has {len(tensors)} tensors, but {config.layers} layers in its config.",
        )
    with torch.device("meta"):
        model = CaptionModel(config)
    expected = model.state_dict()
    _compare(Path(path), expected, tensors)
    model.load_state_dict({name: t.float() for name, t in tensors.items()}, assign=True)
    return model.eval().requires_grad_(False)


def facts(path: str | Path) -> dict[str, Any]:
    """The training facts that were saved with the weights."""
    metadata, _ = _read(Path(path), tensors=False)
    return _json(Path(path), metadata, "training")


def extension(path: str | Path) -> Extension:
    """The languages and tokens of the weights in `path`."""
    metadata, _ = _read(Path(path), tensors=False)
    return Extension.from_json(metadata["extension"]) if "extension" in metadata else Extension()


def save(
    model: CaptionModel,
    path: str | Path,
    training: dict[str, Any],
    extension: Extension = SHIPPED,
) -> None:
    """Write float16 weights, and `training` (plain JSON values) beside the config.

    An older file is replaced once the new one is complete. Raises InputError where the file cannot
    be written, and for a value outside float16's range, which would be read back as infinity.
    """
    torch = require("torch", "torch")
    from safetensors.torch import save as serialise

    tensors = {}
    for name, tensor in model.state_dict().items():
        half = tensor.detach().to("cpu", torch.float16).contiguous()
        if not torch.isfinite(half).all():
            raise InputError("weights.not_finite", f"{name} does not fit float16.")
        tensors[name] = half
    metadata = {
        "format": FORMAT,
        "config": json.dumps(model.config.to_dict(), sort_keys=True),
        "training": json.dumps(training, sort_keys=True),
    }
    if extension != SHIPPED:
        metadata["extension"] = extension.to_json()
    write_file(Path(path), serialise(tensors, metadata))


def _read(path: Path, tensors: bool = True) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    require("safetensors", "torch")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys() if tensors else []
            found = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError("weights.unreadable", f"{path} cannot be read: {reason}.") from error
    if metadata.get("format") != FORMAT:
        raise InputError(
            "weights.foreign",
            f"{path} has format {metadata.get('format')!r}, not {FORMAT!r}: it is not a "
            "captioner of this package.",
            "Give a file that edgecap train, finetune or qat wrote.",
        )
    return metadata, found


def _json(path: Path, metadata: dict[str, str], key: str) -> dict[str, Any]:
    try:
        value = json.loads(metadata.get(key, ""))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError("weights.metadata", f"{path} has no readable {key!r} in its metadata.")
    return value


def _config(path: Path, metadata: dict[str, str]) -> CaptionerConfig:
    values = _json(path, metadata, "config")
    known = CaptionerConfig().to_dict().keys()
    if values.keys() != known or not all(
        type(v) is int and 0 < v <= 1 << 20 for v in values.values()
    ):
        raise InputError(
            "weights.config", f"{path}: the config must have the integers {', '.join(known)}."
        )
    return CaptionerConfig(**values)


def _compare(path: Path, expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> None:
    import torch

    faults = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    faults += [f"{name} is unknown" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(expected.keys() & found.keys()):
        tensor, shape = found[name], list(expected[name].shape)
        if list(tensor.shape) != shape:
            faults.append(f"{name} has shape {list(tensor.shape)}, not {shape}")
        elif tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32):
            faults.append(f"{name} is {tensor.dtype}, not a float")
        elif not torch.isfinite(tensor).all():
            faults.append(f"{name} has values that are not finite")
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise InputError("weights.tensors", f"{path}: {faults[0]}{more}.")
