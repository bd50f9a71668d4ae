"""`edgecap eval` and `edgecap bench` from the command line, on bundles without a trained model."""

import csv
import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from tiny_bundles import shared_bundle
from tiny_mlpackage import write_bundle as write_coreml_bundle

from edgecap.benchmarks import targets
from edgecap.benchmarks.reference.evaluate import KEYS
from edgecap.benchmarks.reference.sets import evaluation_scenes
from edgecap.bundle.certificate import AgreementParity, certificate_to_json, certify
from edgecap.bundle.files import CERTIFICATE, ENCODER, FRONT, MANIFEST, SEARCH, TOKENIZER
from edgecap.bundle.io import bundles_in, finalize, open_bundle
from edgecap.cli.app import main
from edgecap.core.digest import file_sha256
from edgecap.core.errors import InputError
from edgecap.quant import plan
from edgecap.reference.scenes import splits
from edgecap.reference.scenes.grammar import picked_languages
from edgecap.reference.tokens import LANGUAGES


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def refused(capsys: pytest.CaptureFixture[str], *args: str | Path) -> str:
    assert main([str(arg) for arg in args]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_eval_prints_json_with_every_key(
    tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["eval", str(tiny_bundle_made), "--n", "3", "--lang", "en,ja", "--json", "-"]
    assert main(arguments) == 0
    output = json.loads(capsys.readouterr().out)
    assert set(output) >= {"n", *KEYS}
    assert output["n"] == 3 and list(output["languages"]) == ["en", "ja"]
    assert (output["split"], output["seed"], output["backend"]) == ("test", 0, "onnx")
    assert output["exact"] == 0  # its weights are random


def test_eval_shows_a_table_and_writes_a_file(
    tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["eval", str(tiny_bundle_made), "--n", "2", "--lang", "de", "--json", "out.json"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "worst language: de" in shown
    headings = next(line for line in shown.splitlines() if "95 %" in line)
    assert headings.split() == ["mean", "95", "%", "blind", "shuffled", "de"]
    assert "blind_exact" not in shown
    assert json.loads(Path("out.json").read_text(encoding="utf-8"))["n"] == 2


def test_eval_fits_eighty_columns_in_eight_languages(
    tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["eval", str(tiny_bundle_made), "--n", "2", "--only", "embeddings"]) == 0
    shown = capsys.readouterr().out
    assert "retrieval_r1_i2t" in shown and "…" not in shown and "exact" not in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lang", "xx"], "unknown language 'xx'; allowed: en, es"),
        (["--lang", "en,,ja"], "unknown language ''"),
        (["--split", "tset"], "tset"),
        (["--n", "1"], "--n"),
        (["--json", "missing/out.json"], "missing/out.json cannot be written"),
        (["--json", "."], "cannot be written"),
        (["--threads", "0"], "--threads"),
        (["--only", "boxes"], "captions, embeddings"),
    ],
)
def test_eval_refuses_in_one_line(
    tiny_bundle_made: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert words in refused(capsys, "eval", tiny_bundle_made, *arguments)


def test_eval_refuses_phrasing_without_texts(capsys: pytest.CaptureFixture[str]) -> None:
    assert "[eval.phrasing]" in refused(capsys, "eval", "--split", "phrasing", "--only", "captions")


def test_eval_refuses_what_is_no_captioner(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere/bundle" in refused(capsys, "eval", "nowhere/bundle")


def test_shipped_scenes_are_those_of_the_split_and_need_no_font(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = list(splits.scenes("test", 3))
    monkeypatch.setattr("edgecap.benchmarks.reference.sets.scenes", None)  # drawing would fail
    shipped = evaluation_scenes("test", 3)
    for (pixels, scene), (drawn_pixels, drawn_scene) in zip(shipped, drawn, strict=True):
        assert (pixels == drawn_pixels).all() and scene == drawn_scene
    assert len(evaluation_scenes("test", 512)) == 512


def test_other_scenes_are_drawn() -> None:
    test, other = evaluation_scenes("test", 2), evaluation_scenes("test", 2, seed=1)
    assert test[0][1] != other[0][1]
    assert len(evaluation_scenes("test", 513)) == 513
    assert {len(scene.things) for _, scene in evaluation_scenes("counts", 9)} <= {6, 7}
    with pytest.raises(InputError, match="tset"):
        evaluation_scenes("tset", 2)


def test_languages_are_picked_in_order_and_once() -> None:
    assert picked_languages("all") == LANGUAGES
    assert picked_languages("ja, en,ja") == ("ja", "en")
    assert picked_languages("nl,en") == ("nl", "en")  # held out, so only where it is named


def test_bench_measures_the_bundles_that_lie_here(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tiny_bundle.parent)
    assert main(["bench", "--duration", "0.1", "--n", "2", "--csv", "-", "--json", "b.json"]) == 0
    captured = capsys.readouterr()
    (row,) = csv.DictReader(captured.out.splitlines())
    assert row["target"] == "tiny-onnx-fp32" and float(row["caption_ms_p50"]) > 0
    assert "nothing to compare with" in captured.err  # it came from no weights
    (output,) = json.loads(Path("b.json").read_text(encoding="utf-8"))["targets"]
    assert output["accuracy"]["n"] == 2 and output["about"]["backend"] == "onnx"
    assert (Path("bench-report") / "report.html").exists()
    # An older report is no accident to be repeated.
    assert "bench-report exists already" in refused(capsys, "bench", "--quick")


def test_bench_measures_somebodys_captioner_beside_transformers(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = shared_bundle(tmp_path_factory, "blip", "tiny")
    model = bundle.with_name("model")
    measured = ["bench", str(bundle), "--model", str(model), "--json", "b.json"]
    assert main([*measured, "--quick", "--duration", "0.1"]) == 0, capsys.readouterr().err
    first, ours = json.loads(Path("b.json").read_text(encoding="utf-8"))["targets"]
    assert (first["name"], first["reference"]) == ("transformers model", True)
    assert ours["times_faster"]["caption_ms"]["value"] > 0
    assert ours["same_captions"] == 1 and ours["accuracy"] == {}


def test_bench_says_when_there_is_nothing_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    output = refused(capsys, "bench")
    assert "[bench.no_bundles]" in output and "edgecap export" in output


def test_bench_refuses_before_it_measures(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "given twice" in refused(capsys, "bench", tiny_bundle, f"{tiny_bundle}/")
    assert "only one" in refused(capsys, "bench", tiny_bundle, "--csv", "-", "--json", "-")
    assert "only one" in refused(capsys, "bench", tiny_bundle, "--csv", "f", "--json", "./f")
    for lang in ("xx", "nl"):  # the second exists, and the bundle does not know it
        assert "unknown language" in refused(capsys, "bench", tiny_bundle, "--lang", lang)
    (tiny_bundle / "decode.onnx").write_bytes(b"")
    assert "[bundle." in refused(capsys, "bench", tiny_bundle)
    assert not Path("bench-report").exists()


def test_bench_keeps_what_it_could_measure_and_exits_1(
    tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["bench", str(tiny_bundle_made), "--quick", "--duration", "0.1", "--n", "2"]
    code = main([*short, "--weights", "none.safetensors"])
    captured = capsys.readouterr()
    assert code == 1
    assert "[bench.failed]" in captured.err and "none.safetensors" in captured.err
    report = Path("bench-report/report.md").read_text(encoding="utf-8")
    assert "tiny-onnx-fp32" in report and "PyTorch none failed" in report


def test_size_is_of_what_an_app_ships(tiny_bundle_made: Path) -> None:
    kept_for_checking = [*tiny_bundle_made.glob("golden/**/*"), tiny_bundle_made / "parity.json"]
    total = sum(file.stat().st_size for file in tiny_bundle_made.rglob("*") if file.is_file())
    extra = sum(file.stat().st_size for file in kept_for_checking if file.is_file())
    card = tiny_bundle_made / "README.md"
    extra += card.stat().st_size if card.exists() else 0
    assert extra > 0
    assert targets.shipped_bytes(open_bundle(tiny_bundle_made)) == total - extra


def test_how_an_int8_bundle_was_rounded_is_no_part_of_its_size(tiny_bundle: Path) -> None:
    opened = open_bundle(tiny_bundle)
    for name in (plan.FILE, SEARCH, FRONT):
        (tiny_bundle / name).write_bytes(b"{}" + b" " * 10_000)
    finalize(tiny_bundle, replace(opened.manifest, precision="w8a8", plan={"file": plan.FILE}))
    files = ("decode.onnx", "encode_image.onnx", "encode_text.onnx", TOKENIZER, ENCODER, MANIFEST)
    shipped = sum((tiny_bundle / name).stat().st_size for name in files)
    assert targets.shipped_bytes(open_bundle(tiny_bundle)) == shipped


def test_a_coreml_bundle_is_benched_by_its_words_and_not_by_its_speed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(write_coreml_bundle(tmp_path / "tiny-coreml", "portable"))
    assert main(["bench", bundle, "--quick", "--n", "2", "--json", "-"]) == 0
    (output,) = json.loads(capsys.readouterr().out)["targets"]
    assert output["about"]["backend"] == "mlprogram" and output["error"] is None
    assert not output["timed"] and not output["times"] and output["cold_start_ms"] is None
    assert output["accuracy"]["n"] == 2 and output["accuracy"]["exact"] == 0
    assert main(["bench", bundle, "--quick", "--n", "2", "--overwrite"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "tiny-coreml was evaluated by mlprogram" in shown and "speed is not a device's" in shown


def test_parity_is_read_from_the_certificate(tiny_bundle: Path) -> None:
    opened = open_bundle(tiny_bundle)
    assert targets.certified(opened) == {}  # its certificate has no agreements
    agreements = (
        AgreementParity("next_token", 0.995, 0.99),
        AgreementParity("tokens", 0.75, 0.7),
        AgreementParity("decode_stateful tokens", 0.5, 0.4),
    )
    judged = certify("torch", "onnxruntime", 4, ("en",), (), agreements)
    (tiny_bundle / CERTIFICATE).write_bytes(certificate_to_json(judged))
    finalize(tiny_bundle, opened.manifest)
    output = {"next_token": 0.995, "captions": 0.75}
    assert targets.targets([open_bundle(tiny_bundle)], None, [], 1)[-1].parity == output
    (tiny_bundle / CERTIFICATE).unlink()
    finalize(tiny_bundle, opened.manifest)
    assert targets.certified(open_bundle(tiny_bundle)) == {}


def test_two_bundles_of_one_name_are_told_apart(tiny_bundle: Path, tiny_bundle_made: Path) -> None:
    opened = [open_bundle(tiny_bundle), open_bundle(tiny_bundle_made)]
    names = [target.name for target in targets.targets(opened, None, [], 1)]
    assert names == [str(tiny_bundle), str(tiny_bundle_made)]


def test_other_weights_of_the_same_name_are_no_reference(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = open_bundle(tiny_bundle).manifest
    file = Path("captioner-T.safetensors")
    file.write_bytes(b"what was exported")
    for digest, measured in ((None, 2), (file_sha256(file), 2), ("0" * 64, 1)):
        model = replace(manifest.model, source=str(file), weights=digest)
        finalize(tiny_bundle, replace(manifest, model=model))
        assert len(targets.targets([open_bundle(tiny_bundle)], None, [], 1)) == measured
    assert len(targets.targets([open_bundle(tiny_bundle)], str(file), [], 1)) == 2  # asked for


def test_a_manifest_of_something_else_is_no_bundle(tiny_bundle: Path) -> None:
    here = tiny_bundle.parent
    (here / "public").mkdir()
    (here / "public" / "manifest.json").write_text('{"name": "a web app"}')
    assert [one.path for one in targets.bundles([], here)] == [tiny_bundle]
    (here / "cut").mkdir()
    (here / "cut" / "manifest.json").write_text('{"schema": 1, "contr')
    assert bundles_in(here) == [here / "cut", tiny_bundle]  # told why not, when it is used


def test_weights_are_found_by_path_or_by_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes(b"x")
    assert targets.find_weights(str(file)) == file
    assert targets.find_weights("no such model") is None
    data = Path(str(resources.files("edgecap.reference") / "data"))
    weights = list(data.glob("captioner-*.safetensors"))
    assert weights
    for shipped in weights:
        for called in (shipped.stem, shipped.stem.removeprefix("captioner-")):
            assert targets.find_weights(called) == shipped


def test_bench_finds_what_became_worse_than_a_baseline(
    tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(tiny_bundle_made)
    short = ["bench", bundle, "--quick", "--duration", "0.1", "--n", "0", "--overwrite"]
    assert main([*short, "--json", "old.json"]) == 0
    output = json.loads(Path("old.json").read_text(encoding="utf-8"))
    (row,) = output["targets"]
    row["size_mb"] /= 2  # it was half as large then; times are made too noisy to tell
    row["peak_rss_mb"] = row["steady_rss_mb"] = 1e6
    row["rounds"] = row["rounds"][:1]
    Path("old.json").write_text(json.dumps(output), encoding="utf-8")
    capsys.readouterr()
    assert main([*short, "--baseline", "old.json", "--max-regression", "5%"]) == 1
    err = capsys.readouterr().err
    assert "[bench.regression]" in err and "size_mb: +100.0 %" in err
    assert "undecided: " in err and "caption_ms" in err
    assert json.loads(Path("bench-report/report.json").read_text())["targets"]  # it is kept
    assert main([*short, "--baseline", "old.json", "--max-regression", "200%"]) == 0
    assert "no regression above 200%" in capsys.readouterr().err


def test_bench_refuses_options_that_cannot_be(
    tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(tiny_bundle_made)
    assert "5% or 0.05" in refused(capsys, "bench", bundle, "--max-regression", "much")
    assert "0, or 2 to 128" in refused(capsys, "bench", bundle, "--n", "1")
    assert "above 0 s" in refused(capsys, "bench", bundle, "--duration", "0")
    assert "[bench.remote_targets]" in refused(
        capsys, "bench", bundle, "--remote", "a@b", "--peers"
    )
    assert "python, c" in refused(capsys, "bench", bundle, "--target", "rust")
    Path("old.json").write_text("{}")
    assert "[bench.baseline]" in refused(capsys, "bench", bundle, "--baseline", "old.json")
    assert not Path("bench-report").exists()
