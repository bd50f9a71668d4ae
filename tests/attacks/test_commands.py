"""The commands given what cannot work: one line, the right exit code, nothing lost."""

import json
import struct
import zlib
from pathlib import Path

import pytest
from tiny_onnx import image

from edgecap.bundle.certificate import OutputParity, certificate_to_json, certify
from edgecap.bundle.io import finalize, open_bundle
from edgecap.cli.app import main


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(image(0, 60, 40))
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 2) -> str:
    """The one line on standard error; nothing on standard output."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("edgecap: [")
    return err


def bomb() -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


BAD_FILES = {
    "image.empty": b"",
    "image.unreadable": b"this is not an image",
    "image.truncated": image(0, 60, 60)[:4000],
    "image.too_large": bomb(),
}


READERS = {
    "caption": [],
    "classify": ["--labels", "a dog,a cat"],
    "ground": ["the dog"],
    "rank": ["A dog.", "A cat."],
    "explain": ["-o", "page.html"],
}


@pytest.mark.parametrize("verb", READERS)
@pytest.mark.parametrize("code", BAD_FILES)
def test_bad_images(
    code: str,
    verb: str,
    tmp_path: Path,
    tiny_bundle_made: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = tmp_path / "bad.png"
    bad.write_bytes(BAD_FILES[code])
    asked = [verb, bad, *READERS[verb], "--bundle", tiny_bundle_made]
    assert f"[{code}]" in refused(capsys, *asked)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.png"]
    assert bad.read_bytes() == BAD_FILES[code]


def test_one_bad_image_does_not_cost_the_others(
    photo: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [str(photo), "absent.png", str(photo)]
    assert main(["caption", *images, "--bundle", str(tiny_bundle_made), "--json", "-"]) == 2
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert [("text" in row) for row in rows] == [True, False, True]
    assert rows[1]["error"]["code"] == "image.missing"
    assert err.count("\n") == 1


def test_failing_at_a_bad_image_says_which_and_stops(
    photo: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--bundle", str(tiny_bundle_made), "--on-error", "fail"]
    assert main(["caption", str(photo), "absent.png", str(photo), *options]) == 2
    out, err = capsys.readouterr()
    assert out.count(f"{photo}: ") == 1
    assert err.startswith("edgecap: [image.missing] absent.png")
    assert main(["caption", str(photo), "absent.png", str(photo), *options, "--json", "-"]) == 2
    out, err = capsys.readouterr()
    assert [row["image"] for row in json.loads(out)] == [str(photo)]
    assert err.startswith("edgecap: [image.missing] absent.png") and err.count("\n") == 1


def test_a_directory_without_images(
    tmp_path: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    for verb in ("caption", "classify"):
        asked = [verb, tmp_path, *READERS[verb], "--bundle", tiny_bundle_made]
        assert "[image.none]" in refused(capsys, *asked)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--lang", "xx"], "language.unknown"),
        (["--style", "xx"], "style.unknown"),
        (["--beams", "0"], "caption.beams"),
        (["--beams", "2", "--temperature", "1"], "caption.beams_sampled"),
        (["--beams", "2", "--seed", "1"], "caption.beams_sampled"),
        (["--temperature", "0"], "sampling.temperature"),
        (["--top-k", "0"], "sampling.top_k"),
        (["--top-p", "2"], "sampling.top_p"),
        (["--seed", "-1"], "sampling.seed"),
        (["--max-length", "0"], "caption.length"),
        (["--on-error", "ignore"], "on_error.unknown"),
        (["--device", "cuda"], "device.backend"),
        (["--device", "tpu"], "device.unknown"),
        (["--seed", "99999999999999999999"], "sampling.seed"),
        (["--threads", "0"], "usage"),
        (["--threads", "many"], "usage"),
        (["--draw", "out.exe"], "draw.format"),
        (["--draw", "no/such/place/out.png"], "output.unwritable"),
    ],
)
def test_bad_options(
    options: list[str],
    code: str,
    photo: Path,
    tiny_bundle_made: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = refused(capsys, "caption", photo, "--bundle", tiny_bundle_made, *options)
    assert f"[{code}]" in line


def test_the_image_itself_is_never_drawn_over(
    photo: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = photo.read_bytes()
    line = refused(capsys, "caption", photo, "--bundle", tiny_bundle_made, "--draw", photo)
    assert "[draw.overwrites]" in line
    assert photo.read_bytes() == before


def test_no_bundle_anywhere(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from edgecap.reference import shipped

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped, "_DATA", tmp_path)
    line = refused(capsys, "caption", photo)
    assert "[bundle.none]" in line
    assert "edgecap export" in line


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_what_is_no_bundle(
    command: str, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "[bundle.missing]" in refused(capsys, command, tmp_path / "absent")
    assert "[bundle.missing]" in refused(capsys, command, photo)
    (tmp_path / "empty").mkdir()
    assert "[bundle.missing_file]" in refused(capsys, command, tmp_path / "empty")


@pytest.mark.parametrize("command", ["verify", "inspect", "caption"])
def test_an_altered_bundle(
    command: str, photo: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tiny_bundle / "decode.onnx"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    arguments = [photo, "--bundle", tiny_bundle] if command == "caption" else [tiny_bundle]
    assert "[bundle.altered]" in refused(capsys, command, *arguments)


def test_a_bundle_that_drifted_fails_its_gate(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that are whole and say something else than the reference: exit code 1, not 2."""
    from tiny_onnx import write_bundle

    write_bundle(tmp_path / "other", seed=9, verified=False)
    manifest = open_bundle(tiny_bundle).manifest
    (tiny_bundle / "decode.onnx").write_bytes((tmp_path / "other" / "decode.onnx").read_bytes())
    finalize(tiny_bundle, manifest)
    assert main(["verify", str(tiny_bundle)]) == 1
    out, err = capsys.readouterr()
    assert "[verify.failed]" in err
    assert "logits: max abs" in err
    assert "image_embedding" not in err
    assert "FAILED" in out


def test_a_certificate_that_failed_fails_verification(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = open_bundle(tiny_bundle).manifest
    bad = OutputParity("logits", 9.0, 0.1, 1e-4, 0.9999, "scene 3")
    failed = certify("torch", "onnx", 64, ("en",), (bad,), ())
    (tiny_bundle / "parity.json").write_bytes(certificate_to_json(failed))
    finalize(tiny_bundle, manifest)
    assert main(["verify", str(tiny_bundle)]) == 1
    assert "at export: logits" in capsys.readouterr().err


def test_a_directory_in_the_place_of_a_file(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny_bundle / "decode.onnx").unlink()
    (tiny_bundle / "decode.onnx").mkdir()
    assert "[bundle.missing_file]" in refused(capsys, "inspect", tiny_bundle)
