"""Packed bundles: one file that runs as the directory does."""

import gc
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from calibrated import calibrated
from tiny_onnx import image

import edgecap
from edgecap.bundle.confidence_spec import Calibration, CaptionWeights
from edgecap.bundle.container import SUFFIX, write_container
from edgecap.bundle.files import MANIFEST
from edgecap.bundle.io import open_bundle
from edgecap.bundle.packing import pack, unpack
from edgecap.cli.app import main
from edgecap.core.errors import BundleError, InputError
from edgecap.models.loading import default_model


@pytest.fixture(scope="module")
def packed_made(tiny_bundle_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tiny_bundle_made, tmp_path_factory.mktemp("packed") / f"tiny{SUFFIX}")


@pytest.fixture
def packed(packed_made: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copy(packed_made, tmp_path))


def test_it_captions_embeds_and_verifies_as_the_directory(
    tiny_bundle_made: Path, packed: Path
) -> None:
    whole, one = edgecap.load(tiny_bundle_made), edgecap.load(packed)
    images = [image(seed, 40, 60) for seed in range(3)]
    assert one.caption(images) == whole.caption(images)
    assert (one.embed_texts("a dog") == whole.embed_texts("a dog")).all()
    assert edgecap.verify(packed).failures == edgecap.verify(tiny_bundle_made).failures


def test_unpacking_gives_the_directory_again(
    tiny_bundle_made: Path, packed: Path, tmp_path: Path
) -> None:
    out = unpack(packed, tmp_path / "again")
    files = {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    listed = {p.relative_to(tiny_bundle_made) for p in tiny_bundle_made.rglob("*") if p.is_file()}
    assert files.keys() == listed
    assert all(data == (tiny_bundle_made / name).read_bytes() for name, data in files.items())


def test_equal_bundles_give_equal_bytes(packed: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    for path in tiny_bundle.rglob("*"):  # other dates and rights
        path.chmod(0o700)
    assert pack(tiny_bundle, tmp_path / "b.edgecap").read_bytes() == packed.read_bytes()


def test_zip_tools_read_it_and_its_files_are_aligned(tiny_bundle_made: Path, packed: Path) -> None:
    data = packed.read_bytes()
    with zipfile.ZipFile(packed) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == MANIFEST
        for entry in archive.infolist():
            content = (tiny_bundle_made / entry.filename).read_bytes()
            begin = data.index(content, entry.header_offset)
            assert begin % 64 == 0 and begin - entry.header_offset < 256


def test_stripped_it_runs_and_says_that_it_cannot_be_verified(
    tiny_bundle_made: Path, tmp_path: Path
) -> None:
    small = pack(tiny_bundle_made, tmp_path / "small.edgecap", strip=True)
    with zipfile.ZipFile(small) as archive:
        assert not [n for n in archive.namelist() if n.startswith("golden/") or n == "README.md"]
    assert edgecap.load(small).caption(image(1, 40, 60)) == edgecap.load(tiny_bundle_made).caption(
        image(1, 40, 60)
    )
    with pytest.raises(BundleError, match=r"bundle\.missing_file.*golden"):
        edgecap.verify(small)


def test_stripped_it_keeps_how_sure_it_is(tiny_bundle: Path, tmp_path: Path) -> None:
    weights = {"grounded": CaptionWeights(4.0, 0.0, 0.0, 0.5)}
    calibrated(tiny_bundle, Calibration(1, "it is right", "made", None, weights, {}))
    small = pack(tiny_bundle, tmp_path / "small.edgecap", strip=True)
    (said,) = edgecap.load(small, min_confidence="auto").caption(image(1, 40, 60))
    assert said.confidence == pytest.approx(0.982, abs=1e-3)


def test_what_is_altered_inside_is_refused(packed: Path) -> None:
    data = bytearray(packed.read_bytes())
    data[open_bundle(packed).manifest.files["tokenizer.json"].size // 2 + data.index(b'{"')] ^= 1
    packed.write_bytes(data)
    with pytest.raises(BundleError, match=r"bundle\.(altered|json)"):
        edgecap.load(packed)


def test_an_archive_is_held_to_its_manifest(tiny_bundle: Path, tmp_path: Path) -> None:
    files = {
        p.relative_to(tiny_bundle).as_posix(): p for p in tiny_bundle.rglob("*") if p.is_file()
    }
    extra = tmp_path / "extra.bin"
    extra.write_bytes(b"x")
    for changed, code in (
        ({**files, "extra.bin": extra}, "bundle.extra_file"),
        ({n: p for n, p in files.items() if n != "decode.onnx"}, "bundle.missing_file"),
        ({**files, "decode.onnx": extra}, "bundle.truncated"),
    ):
        with (tmp_path / "one.edgecap").open("w+b") as out:
            write_container(out, changed, {})
        with pytest.raises(BundleError) as caught:
            edgecap.load(tmp_path / "one.edgecap")
        assert caught.value.code == code


def test_a_function_that_loads_late_is_checked_again(packed: Path) -> None:
    captioner = edgecap.load(packed)  # encode_text opens at its first use
    data = bytearray(packed.read_bytes())
    opened = open_bundle(packed)
    assert opened.container is not None
    graph = bytes(opened.container.contents["encode_text.onnx"])
    data[bytes(data).index(graph) + len(graph) // 2] ^= 1
    with packed.open("r+b") as file:
        file.write(data)
    with pytest.raises(BundleError, match=r"bundle\.altered"):
        captioner.embed_texts("a dog")


def test_files_for_engines_that_need_paths_are_temporary(packed: Path, tmp_path: Path) -> None:
    opened = open_bundle(packed)
    assert opened.container is not None
    path = opened.file("tokenizer.json")
    assert path.read_bytes() == opened.content("tokenizer.json").read_bytes()
    folder = path.parent
    del opened
    gc.collect()
    assert not folder.exists()


def test_the_commands(
    tiny_bundle_made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pack", str(tiny_bundle_made)]) == 0
    name = f"{tiny_bundle_made.name}{SUFFIX}"
    assert capsys.readouterr().out.startswith(f"{name}: ")
    assert main(["unpack", name]) == 0
    assert (tmp_path / tiny_bundle_made.name / MANIFEST).is_file()
    assert main(["pack", str(tiny_bundle_made), "-o", "b.edgecap", "--json", "-"]) == 0
    shown = capsys.readouterr().out.split("\n", 1)[1]
    assert json.loads(shown)["bytes"] == (tmp_path / "b.edgecap").stat().st_size
    assert main(["inspect", name, "--json", "-"]) == 0
    assert '"format": "onnx"' in json.dumps(json.loads(capsys.readouterr().out))
    for arguments, code in (
        (["pack", str(tiny_bundle_made)], "output.exists"),
        (["unpack", name], "output.exists"),
        (["pack", name], "pack.packed"),
        (["pack", "nothing"], "bundle.missing"),
        (["unpack", "nothing"], "bundle.container"),
        (["unpack", str(tiny_bundle_made)], "unpack.directory"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert f"[{code}]" in error and error.count("\n") == 1


def test_the_newest_bundle_here_may_be_packed(
    tiny_bundle: Path, packed: Path, tmp_path: Path
) -> None:
    assert default_model(packed.parent)[0] in {str(packed), str(tiny_bundle)}
    os.utime(packed, (2e9, 2e9))
    assert default_model(packed.parent)[0] == str(packed)
    shutil.rmtree(tiny_bundle)
    assert default_model(packed.parent)[0] == str(packed)


def test_nothing_is_left_of_a_bundle_that_cannot_be_packed(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    (tiny_bundle / "decode.onnx").write_bytes(b"other")
    out = tmp_path / "out"
    with pytest.raises(BundleError):
        pack(tiny_bundle, out / "one.edgecap")
    assert not out.exists()
    with pytest.raises(BundleError, match=r"bundle\.altered.*while it was packed"):
        write_container(io.BytesIO(), {MANIFEST: tiny_bundle / MANIFEST}, {MANIFEST: "0" * 64})


def test_an_output_that_exists_is_kept(tiny_bundle_made: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.edgecap").write_text("mine")
    with pytest.raises(InputError, match=r"output\.exists"):
        pack(tiny_bundle_made, tmp_path / "mine.edgecap")
    assert (tmp_path / "mine.edgecap").read_text() == "mine"
