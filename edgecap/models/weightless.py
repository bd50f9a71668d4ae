"""A model larger than memory: built of shapes alone, and where its file holds each parameter.

A graph is traced on fake tensors, and what exports it reads one parameter at a time, or points
into the file. Buffers are real: position ids and sinusoids are computed, not stored.

Names in a file are those of the day it was saved; transformers renames them as it loads. The same
renaming is applied here. A model of which it would also compute parameters (split, merge) is
refused, and must be loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoConfig, GenerationConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key
from transformers.initialization import no_init_weights

from edgecap.core.errors import InputError, UnsupportedError
from edgecap.models.checkpoint import Checkpoint, read_header


@dataclass(frozen=True)
class Stored:
    """One tensor in a safetensors file."""

    file: Path
    offset: int  # bytes from the beginning of the file
    length: int  # bytes
    dtype: str  # as safetensors names it: F32, F16, BF16, ...
    shape: tuple[int, ...]


def without_weights(model: type[PreTrainedModel], checkpoint: Checkpoint) -> PreTrainedModel:
    """The model of a checkpoint with fake parameters; for an adapter's `build`."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    register = nn.Module.register_parameter

    def register_fake(module: nn.Module, name: str, value: Any) -> None:
        if value is not None:
            value = nn.Parameter(fake.from_tensor(value.detach()), requires_grad=False)
        register(module, name, value)

    nn.Module.register_parameter = register_fake
    try:
        with no_init_weights(), torch.no_grad():
            config = AutoConfig.from_pretrained(checkpoint.directory, local_files_only=True)
            made = model(config)
    finally:
        nn.Module.register_parameter = register
    made.tie_weights()
    if made.can_generate():  # as from_pretrained: the file, and config.json where there is none
        try:
            settings = GenerationConfig.from_pretrained(checkpoint.directory, local_files_only=True)
        except OSError:
            settings = GenerationConfig.from_pretrained(
                checkpoint.directory,
                config_file_name="config.json",
                local_files_only=True,
                _from_model_config=True,
            )
        made.generation_config = settings
    return made


def stored(model: PreTrainedModel, checkpoint: Checkpoint) -> dict[str, Stored]:
    """Where each parameter of `model` lies, by path; tied ones share a place.

    Raises:
        InputError: the files lack a parameter, or hold it in another shape.
        UnsupportedError: transformers would compute a parameter from several tensors.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    rules = get_model_conversion_mapping(model)
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
    found: dict[str, Stored] = {}
    for file in checkpoint.weights:
        for name, place in _places(file).items():
            path, computed = rename_source_key(
                name, renamings, converters, model.base_model_prefix, parameters
            )
            if computed is not None:
                raise UnsupportedError(
                    "model.computed",
                    f"{name} is changed by transformers as it loads, so it is not read in place.",
                    "Save the model again: from_pretrained(...).save_pretrained(DIR)",
                )
            found[path] = place
    tied = {id(parameters[path]): place for path, place in found.items() if path in parameters}
    table: dict[str, Stored] = {}
    for path, parameter in parameters.items():
        holds = found.get(path) or tied.get(id(parameter))
        if holds is None:
            raise InputError("model.parameter", f"{checkpoint.directory} holds no {path}.")
        if holds.shape != tuple(parameter.shape):
            raise InputError(
                "model.parameter",
                f"{path} is {list(holds.shape)} in {holds.file.name}, "
                f"and {list(parameter.shape)} by its config.",
            )
        table[path] = holds
    return table


def _places(file: Path) -> dict[str, Stored]:
    header = read_header(file)
    with file.open("rb") as opened:
        start = 8 + int.from_bytes(opened.read(8), "little")
    return {
        name: Stored(
            file,
            start + entry["data_offsets"][0],
            entry["data_offsets"][1] - entry["data_offsets"][0],
            entry["dtype"],
            tuple(entry["shape"]),
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }
