"""Every family's adapter is made without its weights, which are found in its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_checkpoints import make

from edgecap.core.errors import InputError
from edgecap.models.checkpoint import WEIGHTS, Checkpoint, open_checkpoint
from edgecap.models.registry import load
from edgecap.models.weightless import Stored, stored, without_weights


def values(place: Stored) -> np.ndarray:
    with place.file.open("rb") as opened:
        opened.seek(place.offset)
        return np.frombuffer(opened.read(place.length), "<f4").reshape(place.shape)


def test_every_parameter_is_found_in_the_file(case: Any) -> None:
    """Also where transformers has renamed it since, and where two share one table."""
    checkpoint: Checkpoint = case.adapter.checkpoint
    bare = without_weights(type(case.adapter.model), checkpoint)
    table = stored(bare, checkpoint)
    real = dict(case.adapter.model.named_parameters(remove_duplicate=False))
    assert table.keys() == real.keys()
    for path, parameter in real.items():
        assert table[path].dtype == "F32"
        assert np.array_equal(values(table[path]), parameter.detach().numpy()), path
    for first, second in case.adapter.quant.tied:
        assert table[f"{first}.weight"] == table[f"{second}.weight"]


def test_an_adapter_without_weights_is_the_same(case: Any) -> None:
    """Its graphs are traced, written and compared in test_families_onnx."""
    adapter = case.adapter
    rows = adapter.interface.dims.get("T")
    bare = load(adapter.checkpoint, rows, build=without_weights)
    assert bare.interface == adapter.interface
    assert bare.quant == adapter.quant
    assert all(hasattr(parameter, "fake_mode") for parameter in bare.model.parameters())


def test_shards_are_read_each(tmp_path: Path) -> None:
    make("git", "tiny", tmp_path)
    model = load(open_checkpoint(tmp_path)).model
    (tmp_path / WEIGHTS).unlink()
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    checkpoint = open_checkpoint(tmp_path)
    table = stored(model, checkpoint)
    assert {place.file for place in table.values()} == set(checkpoint.weights)
    assert len(checkpoint.weights) > 1
    for path, parameter in model.named_parameters():
        assert np.array_equal(values(table[path]), parameter.detach().numpy())


def test_files_that_do_not_fit_the_config_are_refused(tmp_path: Path) -> None:
    make("blip", "tiny", tmp_path / "a")
    make("blip", "wide", tmp_path / "b")
    make("git", "tiny", tmp_path / "c")
    checkpoint = open_checkpoint(tmp_path / "a")
    model = load(checkpoint).model
    with pytest.raises(InputError, match="by its config"):
        stored(model, open_checkpoint(tmp_path / "b"))
    with pytest.raises(InputError, match="holds no vision_model.embeddings"):
        stored(model, open_checkpoint(tmp_path / "c"))
