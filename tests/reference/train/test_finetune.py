"""A language is added without touching what was there, by all weights or by low-rank updates."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edgecap.cli.app import main
from edgecap.core.errors import InputError
from edgecap.models.loading import load
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.extension import Extension
from edgecap.reference.model import weights
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.scenes import sprites
from edgecap.reference.scenes.dataset import write_dataset
from edgecap.reference.shipped import tokenizer_data
from edgecap.reference.tokens import EOS_ID, ID, LANGUAGES, TEXT_ID
from edgecap.reference.train import (
    captions,
    extend_vocabulary,
    finetune_job,
    forgetting,
    lora,
    rehearsal,
)
from edgecap.reference.train.finetune import FinetuneConfig, train_new_rows
from edgecap.reference.train.finetune_job import FinetuneSpec
from edgecap.reference.train.forgetting import Forgetting
from edgecap.runtime import Captioner
from edgecap.runtime.tokenizer import Tokenizer

TINY = CaptionerConfig(width=32, layers=1, heads=2, embedding=16)
KOREAN = ["빨간 원 한 개.", "빨간 별 두 개.", "파란 원 한 개."]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    weights.save(CaptionModel(TINY), path, {"steps": 0})
    return path


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "scenes"
    write_dataset(out, n=6, languages=("nl", "ko"))
    return out


def scores(model: CaptionModel) -> torch.Tensor:
    """Logits [B,T,V] of a fixed text after a fixed image."""
    torch.manual_seed(1)
    keys, values, _ = model.forward_image(
        torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8)
    )
    return model.logits(model.forward_text(torch.tensor([[8, 3, 500, 501]]), keys, values))


def test_a_new_script_gets_rows_and_nothing_else_changes(tiny: Path) -> None:
    model = weights.load(tiny)
    before = Extension()
    after = extend_vocabulary.extend(before, "ko", KOREAN)
    tokenizer = Tokenizer(tokenizer_data(after))
    assert (
        len(tokenizer.encode(KOREAN[0])) < 10 < len(Tokenizer(tokenizer_data()).encode(KOREAN[0]))
    )
    assert "별" not in after.tokens  # seen once
    grown = extend_vocabulary.resize_embeddings(model, before, after)
    V = TINY.vocabulary
    assert grown.config.vocabulary == V + len(after.tokens) == len(tokenizer)
    torch.testing.assert_close(scores(grown)[..., :V][..., 500:], scores(model)[..., 500:])
    table, old = grown.token.weight, model.token.weight
    rows = extend_vocabulary.new_rows(before, after)
    assert rows == [ID["<ko>"], *range(V, len(tokenizer))]
    torch.testing.assert_close(table[V], old[[tokenizer.ids[f"<0x{b:02X}>"] for b in
        after.tokens[0].encode()]].mean(0))  # fmt: skip
    known = [ID[f"<{language}>"] for language in LANGUAGES]
    torch.testing.assert_close(table[ID["<ko>"]], old[known].mean(0))
    kept = [i for i in range(V) if i != ID["<ko>"]]
    assert torch.equal(table[kept], old[kept])


def test_a_word_begins_as_the_mean_of_what_spelled_it(tiny: Path) -> None:
    model, before = weights.load(tiny), Extension()
    after = extend_vocabulary.extend(before, "nl", ["Een rode driehoek en een wit vierkant."] * 3)
    old, now = Tokenizer(tokenizer_data()), Tokenizer(tokenizer_data(after))
    grown = extend_vocabulary.resize_embeddings(model, before, after)
    spelled = old.encode("driehoek")
    assert len(spelled) > 2
    row = grown.token.weight[now.id_of("▁driehoek")]
    torch.testing.assert_close(row, model.token.weight[spelled].mean(0))


def test_low_rank_updates_begin_at_nothing_and_merge_into_plain_weights(tiny: Path) -> None:
    model, plain = weights.load(tiny), weights.load(tiny)
    lora.attach(model, 2, [ID["<nl>"]])
    torch.testing.assert_close(scores(model), scores(plain))
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert (
        sum(p.numel() for p in learned.values())
        == 2 * ((32 + 96) + (32 + 32) + (32 + 128) + (128 + 32)) + 32
    )
    with torch.no_grad():
        for parameter in learned.values():
            parameter.add_(0.1)
    updated = scores(model)
    assert not torch.allclose(updated, scores(plain))
    lora.merge(model)
    assert model.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(scores(model), updated)
    others = [i for i in range(TINY.vocabulary) if i != ID["<nl>"]]
    assert torch.equal(model.token.weight[others], plain.token.weight[others])
    tuned = weights.load(tiny)
    lora.attach(tuned, 1, [])  # a known language: no token is new
    lora.merge(tuned)
    torch.testing.assert_close(scores(tuned), scores(plain))
    for rank in (0, 32):
        with pytest.raises(InputError, match="rank must be"):
            lora.attach(weights.load(tiny), rank, [])


# Low-rank updates of random weights learn little; that they learn is enough here.
@pytest.mark.parametrize(("lang", "rank", "nats"), [("nl", 0, 0.3), ("ko", 4, 0.03)])
def test_a_language_is_learned_and_its_weights_caption(
    tiny: Path, drawn: Path, tmp_path: Path, lang: str, rank: int, nats: float
) -> None:
    config = FinetuneConfig(
        steps=15,
        images=2,
        rehearsed=2,
        lora=rank,
        row_steps=0,
        warmup_steps=2,
        muon_rate=0.0,
        adamw_rate=3e-3,
    )
    spec = FinetuneSpec(lang, drawn, check=0, config=config)
    model, before = weights.load(tiny), weights.extension(tiny)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    data = finetune_job.read_data(spec, model, before)
    said: list[str] = []
    learned, report = finetune_job.finetune(model, before, data, spec, said.append)
    assert "rehearsing from drawn scenes" in said[0]
    assert report.log[-1]["new_caption"] < report.log[0]["new_caption"] - nats
    assert (report.images, report.captions, report.known) == (6, 6, False)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, start[name])  # the student was a copy
    path = tmp_path / "taught.safetensors"
    weights.save(learned, path, {}, data.extension)
    captioner = load(path)
    assert captioner.languages == (*LANGUAGES, lang)
    (caption,) = captioner.caption(np.zeros((50, 80, 3), np.uint8), lang=lang, max_length=6)
    assert caption.lang == lang and len(caption.tokens) <= 6
    assert weights.extension(path) == data.extension
    again = finetune_job.read_data(
        FinetuneSpec(lang, drawn), weights.load(path), weights.extension(path)
    )
    assert again.extension == data.extension  # known now: tuned, nothing is added


def test_new_rows_are_trained_alone(tiny: Path, drawn: Path) -> None:
    config = FinetuneConfig(images=2, row_steps=5)
    model, before = weights.load(tiny), weights.extension(tiny)
    data = finetune_job.read_data(FinetuneSpec("nl", drawn, config=config), model, before)
    student = extend_vocabulary.resize_embeddings(model, before, data.extension)
    begun = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    rows = extend_vocabulary.new_rows(before, data.extension)
    train_new_rows(student, data.dataset, config, rows)
    for name, new in student.state_dict().items():
        old = begun[name]
        if name == "token.weight":
            assert (new[rows] != old[rows]).any(1).all()
            others = sorted(set(range(len(new))) - set(rows))
            old, new = old[others], new[others]
        assert torch.equal(new, old)


def test_without_the_font_the_weights_rehearse_their_own_captions(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rehearsal.choose("auto", LANGUAGES)[0] == "scenes"
    assert rehearsal.choose("auto", (*LANGUAGES, "sv"))[0] == "own"  # no grammar of Swedish
    with pytest.raises(InputError, match="described in sv"):
        rehearsal.choose("scenes", ("en", "sv"))
    missing = InputError("scenes.font", "missing")
    monkeypatch.setattr(sprites, "_font", lambda: (_ for _ in ()).throw(missing))
    sprites._glyph.cache_clear()
    sprites._rotated.cache_clear()
    kind, why = rehearsal.choose("auto", LANGUAGES)
    assert kind == "own" and "font" in why
    with pytest.raises(InputError, match="missing"):
        rehearsal.choose("scenes", LANGUAGES)
    captioner = finetune_job.captioner_of(weights.load(tiny), Extension(("en", "de")))
    monkeypatch.setattr(rehearsal, "load_set", lambda _: [(np.zeros((224, 224, 3), np.uint8), 0)])
    model_inputs = np.zeros((1, 224, 224, 3), np.uint8)
    batch = rehearsal.of_own_captions(captioner, captioner.tokenizer, model_inputs, 2, 0)(3)
    assert set(batch.tokens[:, 0].tolist()) == {ID["<en>"], ID["<de>"]}
    assert (batch.tokens[:, 1] == ID["<grounded>"]).all()


def test_own_captions_are_rehearsed_as_they_are_spelled_now(tiny: Path) -> None:
    knows = extend_vocabulary.extend(Extension(("sv",)), "nb", ["En bil.", "En grønn bil."])
    tokenizer = Tokenizer(tokenizer_data(knows))
    captioner = finetune_job.captioner_of(weights.load(tiny), Extension(("sv",)))
    (said,) = captioner.caption([np.zeros((8, 8, 3), np.uint8)], "sv", max_length=1)
    box = "<loc_01><loc_02><loc_03><loc_04>"
    own = rehearsal._own(captioner, tokenizer, "sv", replace(said, text="Bil.", raw=f"En bil{box}"))
    assert own.text == (TEXT_ID, *tokenizer.encode("Bil."), EOS_ID)
    words = [tokenizer.id_of("▁En"), tokenizer.id_of("▁bil")]
    assert own.caption[2:] == (*words, *(ID[f"<loc_0{i}>"] for i in range(1, 5)), EOS_ID)


def test_what_was_forgotten_is_told_in_points() -> None:
    before = np.array([[True, True, False, True]] * 2)
    after = np.array([[True, False, False, True], [True, True, False, True]])
    lost = Forgetting(("en", "de"), before, after)
    assert lost.drop == pytest.approx(12.5)
    low, high = lost.drop_interval
    assert low == 0 <= lost.drop <= high
    just = [np.arange(800).reshape(8, 100) < kept for kept in (736, 728)]
    assert Forgetting(LANGUAGES, *just).drop == 1  # so --max-drop 1 allows it
    assert lost.to_json()["languages"]["en"] == {"before": 0.75, "after": 0.5}


def told(folder: Path, *texts: str) -> Path:
    """A JSONL of one image and these captions."""
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "a.png")
    rows = [json.dumps({"image": "a.png", "caption": text}) for text in texts]
    (folder / "mine.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder / "mine.jsonl"


@pytest.mark.full
def test_the_command_writes_weights_report_and_image(
    tiny: Path, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "taught"
    common = ["--model", str(tiny), "--lang", "nl", "--data", str(drawn), "-o", str(out)]
    assert main(["finetune", *common, "--steps", "5", "--check", "2", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {path.name for path in out.iterdir()} == {
        "tiny-nl.safetensors",
        "report.json",
        "report.png",
    }
    assert report["forgetting"]["scenes"] == 2 and report["rehearsal"] == "scenes"
    assert set(report["forgetting"]["languages"]) == set(LANGUAGES)
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    assert "6 captions of 6 images" in weights.facts(out / "tiny-nl.safetensors")["finetune nl"]
    assert main(["finetune", *common]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(("allowed", "code"), [("49.9", 1), ("50", 0)])
def test_weights_that_forgot_too_much_are_kept_and_the_command_fails(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    allowed: str,
    code: int,
) -> None:
    asked: list[Sequence[str]] = []

    def exact(_: Captioner, languages: Sequence[str], n: int) -> np.ndarray:
        """All that was known before; of two scenes one after."""
        asked.append(languages)
        known = np.ones((len(languages), n), bool)
        known[:, 1:] = asked.count(languages) == 1
        return known

    monkeypatch.setattr(forgetting, "exact", exact)
    out, data = tmp_path / "out", told(tmp_path, "Een hond.", "Een kat.")
    arguments = ["--model", str(tiny), "--lang", "nl", "--data", str(data), "-o", str(out)]
    arguments += ["--steps", "1", "--check", "2", "--max-drop", allowed]
    assert main(["finetune", *arguments]) == code
    captured = capsys.readouterr()
    assert LANGUAGES in asked and "they lost 50.0 points" in captured.out
    assert ("[finetune.forgotten]" in captured.err) == ("--steps" in captured.err) == (code == 1)
    assert "nl" in weights.extension(out / "tiny-nl.safetensors").languages
    assert json.loads((out / "report.json").read_text())["forgetting"]["drop_points"] == 50


def test_a_missing_plotter_is_told_before_the_work(
    tiny: Path,
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun: list[FinetuneSpec] = []
    monkeypatch.setattr(finetune_job, "read_data", lambda spec, *_: begun.append(spec))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    arguments = ["--model", str(tiny), "--lang", "nl", "--data", str(drawn)]
    assert main(["finetune", *arguments, "-o", str(tmp_path / "out")]) == 2
    assert "[package.missing] matplotlib" in capsys.readouterr().err
    assert begun == []


def test_more_images_than_memory_holds_are_refused(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(captions, "free_bytes", lambda: 224 * 224 * 3)  # half of it may be taken
    data = told(tmp_path, "Een hond.")
    arguments = ["--model", str(tiny), "--lang", "nl", "--data", str(data)]
    assert main(["finetune", *arguments, "-o", str(tmp_path / "out"), "--check", "0"]) == 2
    assert "[pairs.too_many] 1 images" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_unreadable_images_fail_or_are_left_out(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = told(tmp_path, "Een hond.", "Een kat.")
    (tmp_path / "b.png").write_bytes(b"not an image")
    with data.open("a") as file:
        file.write('\n{"image": "b.png", "caption": "Een koe."}\n')
    common = ["finetune", "--model", str(tiny), "--lang", "nl", "--data", str(data)]
    common += ["-o", str(tmp_path / "out"), "--check", "0", "--steps", "1"]
    assert main([*common, "--on-error", "fail"]) == 2
    assert "[image." in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main(common) == 2  # the weights are there, and an image was left out
    captured = capsys.readouterr()
    assert "b.png" in captured.err and "nl learned from 2 captions" in captured.out
    (tmp_path / "a.png").write_bytes(b"")
    assert main([*common, "--on-error", "skip", "--overwrite"]) == 2
    assert "none of the 2 images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("texts", "options", "code"),
    [
        (["Een hond."], ["--lang", "dutch"], "language.code"),
        (["123, 45!"], ["--lang", "nl"], "finetune.no_words"),
        ([], ["--lang", "nl"], "pairs.empty"),
        (["Een hond."], ["--lang", "nl", "--rehearse", "maybe"], "rehearsal.unknown"),
        (["Een hond."], ["--lang", "nl", "--on-error", "hope"], "on_error.unknown"),
        (["Een hond."], ["--lang", "nl", "--lora", "32"], "lora.rank"),
        (["Een hond."], ["--lang", "nl", "--lora", "-1"], "finetune.number"),
        (["Een hond."], ["--lang", "nl", "--model", "absent"], "model.unknown"),
        (["Een hond."], ["--lang", "nl", "--max-drop", "nan"], "max_drop.range"),
        (["Een hond."], ["--lang", "nl", "--max-drop", "inf"], "max_drop.range"),
        (["Een hond."], ["--lang", "nl", "--max-drop", "-1"], "max_drop.range"),
    ],
)
def test_refusals(
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    texts: list[str],
    options: list[str],
    code: str,
) -> None:
    data = told(tmp_path, *texts)
    model: list[Any] = [] if "--model" in options else ["--model", str(tiny)]
    arguments = [*model, *options, "--data", str(data), "-o", str(tmp_path / "out"), "--check", "0"]
    assert main(["finetune", *arguments]) == 2
    assert f"[{code}]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
