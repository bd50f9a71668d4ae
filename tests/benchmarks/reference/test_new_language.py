"""The stages run one after another, and what they give is written down."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgecap.benchmarks.reference import new_language
from edgecap.core.errors import InputError
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.extension import Extension
from edgecap.reference.model import weights
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.train import finetune
from edgecap.reference.train.captions import CaptionDataset
from edgecap.reference.train.finetune import FinetuneConfig

TINY = CaptionerConfig(width=16, layers=1, heads=1, embedding=8)
BUDGET = new_language.Budget(captions=4, steps=2, images=2, scenes=2)


def written(folder: Path, *languages: str) -> Path:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    weights.save(CaptionModel(TINY), folder / "tiny.safetensors", {}, Extension(languages))
    return folder / "tiny.safetensors"


def test_a_known_language_is_told_before_any_is_taught(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = written(tmp_path, "en", "ko"), tmp_path / "out"
    assert new_language.main(["nl", "ko", "--model", str(model), "--out", str(out)]) == 2
    shown = capsys.readouterr()
    assert "[language.known]" in shown.err and "nl: " not in shown.out
    assert not out.exists()


@pytest.mark.full
def test_every_stage_is_measured_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = written(tmp_path, "en"), tmp_path / "out"
    learn, learned = finetune.finetune_steps, []

    def note(
        model: CaptionModel, said: CaptionDataset, old: Any, config: FinetuneConfig, rows: Any
    ) -> Any:
        learned.append((config.caption_weight, config.row_steps, said.captions))
        return learn(model, said, old, config, rows)

    monkeypatch.setattr(finetune, "finetune_steps", note)
    sizes = ["--captions", "60", "--steps", "2", "--row_steps", "3", "--images", "2"]
    sizes += ["--scenes", "2"]
    asked = ["ko", "ko", "--model", str(model), "--out", str(out), "--threads", "1", *sizes]
    assert new_language.main(asked) == 0
    assert learned == [(0.0, 3, 60), (1.0, 3, 60), (1.0, 3, 60)]
    report = json.loads((out / "new_language.json").read_text())
    assert [row["stage"] for row in report["rows"]] == list(new_language.STAGES)
    for row in report["rows"]:
        assert set(row["figures"]) == set(new_language.KEYS)
        assert set(row["known"]) == {"en"}
    assert (out / "new_language.png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert (out / "new_language.md").read_text() in shown and "| ko | one thing |" in shown


def test_lessons_are_what_they_say() -> None:
    one = list(new_language.drawn(new_language._ONE_THING, 5, 0))
    assert {len(scene.things) for _, scene in one} == {1}
    rows = list(new_language._rows("nl", one))
    assert len(rows) == 5 and all(row["lang"] == "nl" for row in rows)


def test_only_languages_that_are_new_are_measured(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nl, ko"):
        next(new_language.stages("S", "sv", BUDGET))
    with pytest.raises(InputError, match="has nl already"):
        next(new_language.stages(str(written(tmp_path, "en", "nl")), "nl", BUDGET))
    with pytest.raises(InputError, match="described in sv"):
        next(new_language.stages(str(written(tmp_path, "en", "sv")), "nl", BUDGET))
    with pytest.raises(InputError, match="rank must be"):
        next(new_language.stages(str(written(tmp_path, "en")), "nl", replace(BUDGET, lora=99)))
