"""A model's directory as transformers saves it: looked at, and refused, before torch is imported.

Layout: huggingface.co's `save_pretrained`: config.json, weights as safetensors (one file, or
shards and an index), image processor, tokenizer. Nothing is unpickled and no code is fetched.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecap.bundle.checks import is_lfs_pointer
from edgecap.core import hub
from edgecap.core.errors import BundleError, EdgecapError, InputError, UnsupportedError
from edgecap.core.typed import parse
from edgecap.models import registry

ADAPTER = "adapter_config.json"
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
MAX_HEADER_BYTES = 100 << 20  # as the safetensors library
TOKENIZERS = (  # any of these sets of files is a tokenizer
    ("tokenizer.json",),
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("spiece.model",),
    ("tokenizer.model",),
    ("sentencepiece.bpe.model",),
)
FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "README.md")  # of a hub's copy
# What training wraps a model in, and with it the names of its weights.
WRAPPERS = {
    "_orig_mod.": ("torch.compile", "model._orig_mod"),
    "module.": ("DistributedDataParallel", "model.module"),
}
_CACHED = re.compile("models--(.+)")  # a repository in the hub's local cache


@dataclass(frozen=True)
class Checkpoint:
    """A directory that can be loaded: everything that loading needs was found."""

    directory: Path
    model_type: str
    architecture: str  # class of transformers: that of config.json, else the family's first
    config: dict[str, Any]
    weights: tuple[Path, ...]  # safetensors files

    @property
    def source(self) -> str:
        """What the model is called: by its hub id, else by its directory.

        `_name_or_path` of its config is what it was trained from, or a path of that machine.
        """
        return _cached(self.directory) or self.directory.name

    @property
    def name(self) -> str:
        """A name for what is made of it: that of the repository or of the directory."""
        return self.source.rsplit("/", 1)[-1]

    @property
    def license(self) -> str:
        """The license in the front matter of its model card; "unknown" where there is none."""
        card = self.directory / "README.md"
        if not card.is_file():
            return "unknown"
        with card.open(encoding="utf-8", errors="replace") as opened:
            front = opened.read(1 << 16).split("\n---", 1)[0]
        license_line = re.search(r"^license:[ \t]*[\"']?([\w.+-]+)", front, re.M)
        return license_line[1] if front.startswith("---") and license_line else "unknown"


def open_checkpoint(
    model: str | Path, revision: str | None = None, fetch: bool = False
) -> Checkpoint:
    """The checkpoint in a directory, or that of a hub id.

    Args:
        model: a directory, `org/name`, or `org/name@revision`.
        revision: branch, tag or commit of a hub id.
        fetch: whether a hub id may be fetched; otherwise it must lie in the local cache.

    Raises:
        InputError: nothing there, or not whole.
        UnsupportedError: a model that no adapter here can take.
    """
    directory = Path(model)
    if directory.is_file():
        if directory.suffix in PICKLES:
            raise _pickled(directory, _json(directory.parent, CONFIG))
        raise InputError(
            "model.file", f"{directory} is a file; a model is a directory with {CONFIG}."
        )
    if not directory.is_dir():
        named, _, given = str(model).partition("@")
        if not hub.is_id(named) or directory.parent.is_dir():
            raise InputError(
                "model.missing",
                f"{model} does not exist.",
                f"Give a directory that save_pretrained wrote ({CONFIG}, {WEIGHTS}), or a hub id.",
            )
        directory = hub.snapshot(named, revision or given or None, fetch, FILES)
    elif revision is not None:
        raise InputError("model.revision", f"{directory} is a directory; only hub ids have one.")
    return _read(directory)


def _read(directory: Path) -> Checkpoint:
    _check_fetched(directory)
    config = _json(directory, CONFIG)
    if config is None:
        raise _no_model(directory)
    model_type, named = config.get("model_type"), config.get("architectures")
    if not isinstance(model_type, str):
        raise InputError("model.config", f"{directory / CONFIG} names no model_type.")
    architecture = named[0] if isinstance(named, list) and named else None
    if config.get("auto_map"):
        raise UnsupportedError(
            "model.remote_code",
            f"{directory.name} brings its own code (auto_map in {CONFIG}), and none is run here; "
            f"native in transformers and known: {', '.join(registry.FAMILIES)}.",
            "Use the checkpoint that was converted to transformers' own classes.",
        )
    quantised = config.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise UnsupportedError(
            "model.quantised",
            f"the weights of {directory.name} are rounded already ({method or 'unknown method'}), "
            "and exports round float weights themselves.",
            "Export the model it was made from, with --int8.",
        )
    family = registry.find(model_type, architecture)
    if "tokenizer" in family.needs and not any(
        all((directory / name).is_file() for name in names) for names in TOKENIZERS
    ):
        raise InputError(
            "model.tokenizer",
            f"{directory} has no tokenizer (tokenizer.json); without it captions are numbers.",
            "Save it beside the weights: AutoTokenizer.from_pretrained(...).save_pretrained(DIR)",
        )
    if "image_processor" in family.needs and not _has_image_processor(directory):
        raise InputError(
            "model.processor",
            f"{directory} has no image processor (preprocessor_config.json): size, mean and "
            "deviation of its images are unknown.",
            "Save it beside the weights: AutoProcessor.from_pretrained(...).save_pretrained(DIR)",
        )
    weights = _weights(directory, config)
    return Checkpoint(
        directory, model_type, architecture or family.architectures[0], config, weights
    )


def _check_fetched(directory: Path) -> None:
    """InputError where Git LFS left a pointer in the place of a file that loading needs."""
    for file in sorted(directory.iterdir()):
        needed = any(file.match(pattern) for pattern in FILES)
        if not needed or not file.is_file() or file.stat().st_size > 1024:
            continue
        if is_lfs_pointer(file):
            raise InputError(
                "model.pointer",
                f"{file} is a pointer of Git LFS, not the file itself.",
                f"Fetch what it points to: git -C {directory} lfs pull",
            )


def _no_model(directory: Path) -> EdgecapError:
    """Why a directory without config.json is no model, and what is one nearby."""
    adapter = _json(directory, ADAPTER)
    if adapter is not None:
        base = adapter.get("base_model_name_or_path")
        return UnsupportedError(
            "model.adapter",
            f"{directory} holds an adapter of PEFT ({ADAPTER}), to be added to {base}; only "
            "whole models are exported.",
            "Merge it in Python, with the model and its processor: "
            "PeftModel.from_pretrained(model, ADAPTER).merge_and_unload().save_pretrained(DIR)",
        )
    inner = [file.parent for file in directory.glob(f"*/{CONFIG}")]
    newest = max(inner, key=lambda path: path.stat().st_mtime, default=None)
    hint = "" if newest is None else f"There is one in it: {newest}"
    message = f"{directory} has no {CONFIG}, so it is not a transformers model."
    return InputError("model.config", message, hint)


def _has_image_processor(directory: Path) -> bool:
    if (directory / "preprocessor_config.json").is_file():
        return True
    return "image_processor" in (_json(directory, "processor_config.json") or {})


def _weights(directory: Path, config: dict[str, Any]) -> tuple[Path, ...]:
    """The safetensors files, each whole as far as its header shows."""
    index = _json(directory, INDEX)
    if index is not None and not (directory / WEIGHTS).is_file():
        table = index.get("weight_map")
        if not isinstance(table, dict) or not all(isinstance(f, str) for f in table.values()):
            raise InputError("model.index", f"{directory / INDEX} has no weight_map.")
        names = sorted(set(table.values()))
        for name in names:
            if Path(name).name != name:
                raise InputError("model.index", f"{INDEX} points outside the model: {name}.")
        files = tuple(directory / name for name in names)
    else:
        files = (directory / WEIGHTS,)
    for file in files:
        if not file.is_file():
            pickles = [p for p in sorted(directory.iterdir()) if p.suffix in PICKLES]
            if pickles and index is None:
                raise _pickled(pickles[0], config)
            cached = _cached(directory)
            if cached is not None and index is None:
                raise UnsupportedError(
                    "model.weights",
                    f"{cached} has no {file.name} here: its weights on the hub may be a pickle, "
                    "which pull leaves out.",
                    f"Where you trust it, convert it: {_conversion(cached, config)}",
                )
            raise InputError(
                "model.weights",
                f"{file.name} is missing from {directory}"
                + (f", and {INDEX} lists it." if index is not None else "."),
                "Copy or download the model again.",
            )
        _check_names(file, read_header(file))
    return files


def _check_names(file: Path, header: dict[str, Any]) -> None:
    """InputError where a wrapper of training gave every tensor its prefix."""
    names = header.keys() - {"__metadata__"}
    for prefix, (wrapper, model) in WRAPPERS.items():
        if names and all(name.startswith(prefix) for name in names):
            raise InputError(
                "model.wrapped",
                f"the weights in {file} were saved inside {wrapper}: all their names begin with "
                f"{prefix!r}.",
                f"Save the model itself: {model}.save_pretrained(DIR)",
            )


def read_header(file: Path) -> dict[str, Any]:
    """What a safetensors file holds, from its header: name -> dtype, shape, data_offsets.

    Raises InputError where the file is not safetensors or ends too early.
    Format: https://huggingface.co/docs/safetensors, eight bytes of length, JSON, data.
    """
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        whole = 8 + length <= size and length <= MAX_HEADER_BYTES
        try:
            header = json.loads(opened.read(length)) if whole else None
        except ValueError:
            header = None
    if not isinstance(header, dict):
        raise InputError("model.corrupt", f"{file} is not a safetensors file.", AGAIN)
    try:
        ends = [v["data_offsets"][1] for name, v in header.items() if name != "__metadata__"]
        needed = 8 + length + max(ends, default=0)
    except (KeyError, IndexError, TypeError):
        raise InputError("model.corrupt", f"{file} has no valid header.", AGAIN) from None
    if needed != size:
        raise InputError(
            "model.corrupt", f"{file} has {size} bytes and its header says {needed}.", AGAIN
        )
    return header


AGAIN = "Copy or download the model again."


def _pickled(file: Path, config: dict[str, Any] | None) -> EdgecapError:
    """`config`: of the directory; None where there is none, and the classes are unknown."""
    named = (config or {}).get("architectures")
    hint = (
        f"There is no {CONFIG} beside it. Load it in the code that wrote it, and save the model "
        "and its processor with save_pretrained(DIR)."
    )
    cached = _cached(file.parent)
    if cached is not None:  # whose files are links into blobs, to be left as they are
        hint = f"Where you trust it, convert it: {_conversion(cached, config or {})}"
    elif config is not None:
        name = named[0] if isinstance(named, list) and named else "AutoModel"
        code = f"from transformers import {name} as M; d = '{file.parent}'; "
        code += "M.from_pretrained(d).save_pretrained(d)"
        hint = f'Where you trust it, convert it: python -c "{code}"'
    return UnsupportedError(
        "model.pickle",
        f"{file} is a pickle, which can run code when it is read; only safetensors are.",
        hint,
    )


def _cached(directory: Path) -> str | None:
    """The hub id of a snapshot in the hub's local cache."""
    cached = _CACHED.fullmatch(directory.parent.parent.name)
    if cached and directory.parent.name == "snapshots":
        return cached[1].replace("--", "/", 1)
    return None


def _conversion(hub_id: str, config: dict[str, Any]) -> str:
    """The command that makes a directory of safetensors of what a hub holds as a pickle."""
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named else "AutoModel"
    folder = hub_id.rsplit("/", 1)[-1]
    return (
        f'python -c "import transformers as t; [k.from_pretrained({hub_id!r})'
        f".save_pretrained({folder!r}) for k in "
        f'(t.{name}, t.AutoImageProcessor, t.AutoTokenizer)]"'
    )


def _json(directory: Path, name: str) -> dict[str, Any] | None:
    """A JSON object of the directory; None where there is no such file."""
    file = directory / name
    if not file.is_file():
        return None
    try:
        value = parse(file.read_bytes(), str(file))
    except BundleError as error:
        raise InputError("model.json", error.message) from None
    if not isinstance(value, dict):
        raise InputError("model.json", f"{file} holds no JSON object.")
    return value
