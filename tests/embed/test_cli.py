"""The command line, with the sanitizers: files in, captions out, and what cannot be read."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_edgecap import CHECKED, NOT_CORE, SOURCES, compile_c, core, engine_library
from PIL import Image

from edgecap.runtime import load

PIXELS = np.kron(
    np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8),
    np.ones((11, 9, 1), np.uint8),
)  # [55,63,3]


def run(cli: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    given = [str(argument) for argument in arguments]
    return subprocess.run([cli, *given], capture_output=True, text=True)


@pytest.fixture(scope="module")
def engine() -> tuple[str, str]:
    return "--library", str(engine_library("onnx"))


def test_json_is_what_python_says(
    checked_cli: Path, bundles: dict[str, Path], engine: tuple[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "image.ppm"
    Image.fromarray(PIXELS).save(file)
    told = run(checked_cli, *engine, "--json", "--lang", "fr", bundles["onnx"], file)
    assert (told.returncode, told.stderr) == (0, "")
    said = json.loads(told.stdout)
    (expected,) = load(bundles["onnx"]).caption(PIXELS, lang="fr")
    assert said["image"] == str(file)
    assert (said["text"], said["raw"]) == (expected.text, expected.raw)
    assert tuple(said["tokens"]) == expected.tokens
    assert said["scores"] == pytest.approx(expected.scores, abs=2e-5)


def test_pnm_raw_and_streams_are_alike(
    checked_cli: Path, bundles: dict[str, Path], engine: tuple[str, str], tmp_path: Path
) -> None:
    ppm, raw, grey = tmp_path / "a.ppm", tmp_path / "a.raw", tmp_path / "a.pgm"
    Image.fromarray(PIXELS).save(ppm)
    raw.write_bytes(PIXELS[..., ::-1].tobytes())
    Image.fromarray(PIXELS[..., 0]).save(grey)
    bundle = bundles["onnx"]
    plain = run(checked_cli, *engine, bundle, ppm)
    assert plain.returncode == 0 and plain.stdout.count("\n") == 1
    as_raw = run(checked_cli, *engine, "--raw", "bgr", "63x55", bundle, raw)
    assert as_raw.stdout == plain.stdout
    streamed = run(checked_cli, *engine, "--stream", "--no-boxes", bundle, ppm)
    assert streamed.stdout == run(checked_cli, *engine, "--no-boxes", bundle, ppm).stdout
    (of_grey,) = load(bundle).caption(PIXELS[..., 0])
    assert run(checked_cli, *engine, bundle, grey).stdout == of_grey.text + "\n"


def test_embeddings(
    checked_cli: Path, bundles: dict[str, Path], engine: tuple[str, str], tmp_path: Path
) -> None:
    ppm = tmp_path / "a.ppm"
    Image.fromarray(PIXELS).save(ppm)
    python = load(bundles["onnx"])
    told = run(checked_cli, *engine, "--embed", "--text", "a dog", bundles["onnx"], ppm)
    text, image = (np.array(line.split(), np.float32) for line in told.stdout.splitlines())
    np.testing.assert_array_equal(text, python.embed_texts("a dog")[0])
    np.testing.assert_array_equal(image, python.embed_images(PIXELS)[0])


def test_one_bad_image_does_not_stop_the_others(
    checked_cli: Path, bundles: dict[str, Path], engine: tuple[str, str], tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.ppm", tmp_path / "bad.ppm"
    Image.fromarray(PIXELS).save(good)
    bad.write_bytes(good.read_bytes()[:-1])
    told = run(checked_cli, *engine, bundles["onnx"], good, bad, good)
    assert told.returncode == 1
    assert len(set(told.stdout.splitlines())) == 1 and told.stdout.count("\n") == 2
    assert told.stderr.startswith(f"edgecap-caption: {bad}: [image.truncated]")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image.unreadable"),
        (b"P6", "image.unreadable"),
        (b"P6 2", "image.unreadable"),
        (b"P6 2 2 255", "image.truncated"),
        (b"P6 2 2 255\n" + b"x" * 11, "image.truncated"),
        (b"P6 0 2 255\n", "image.unreadable"),
        (b"P6 -2 2 255\n", "image.unreadable"),
        (b"P6 99999999999999999999 2 255\n", "image.too_large"),
        (b"P6 2 2 100\n" + b"x" * 12, "image.unreadable"),
        (b"P5 100000 100000 255\n", "image.too_large"),
        (b"P6 #" + b"c" * 100, "image.unreadable"),
        (b"P3 1 1 255 1 2 3", "image.unreadable"),
        (b"GIF89a", "image.unreadable"),
        (b"\x89PNG\r\n\x1a\n", "image.format"),
        (b"\xff\xd8\xff\xe0", "image.format"),
    ],
)
def test_files_that_are_no_image(
    checked_cli: Path,
    bundles: dict[str, Path],
    engine: tuple[str, str],
    tmp_path: Path,
    data: bytes,
    code: str,
) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    told = run(checked_cli, *engine, bundles["onnx"], file)
    assert (told.returncode, told.stdout) == (2, "")
    assert f"[{code}]" in told.stderr and told.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--unknown"],
        ["bundle-alone"],
        ["--beams"],
        ["--beams", "many", "b", "i"],
        ["--beams", "1e99", "b", "i"],
        ["--raw", "rgb", "63", "b", "i"],
        ["--seed", "-1", "b", "i"],
        ["--temperature", "", "b", "i"],
    ],
)
def test_command_lines_that_are_refused(checked_cli: Path, arguments: list[str]) -> None:
    told = run(checked_cli, *arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr


@pytest.mark.full
def test_png_and_jpeg_where_they_are_built_in(
    tmp_path: Path, bundles: dict[str, Path], engine: tuple[str, str]
) -> None:
    """Turned by EXIF, transparent, grey: decoded here, they are what Pillow makes of them."""
    cli = tmp_path / "cli"
    libraries = [
        (f"-DEDGECAP_WITH_{name}", f"-l{library}")
        for name, header, library in (("PNG", "png.h", "png"), ("JPEG", "jpeglib.h", "jpeg"))
        if Path("/usr/include", header).exists()
    ]
    extra = [str(SOURCES / name) for name in NOT_CORE]
    flags = [flag for flag, _ in libraries] + [library for _, library in libraries]
    compile_c(*CHECKED, *core(), *extra, "-o", str(cli), "-lm", "-ldl", *flags)
    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = np.concatenate([PIXELS, PIXELS[..., :1]], axis=2)
    files = {
        "a.jpg": lambda file: Image.fromarray(PIXELS).save(file, exif=exif, quality=90),
        "grey.jpg": lambda file: Image.fromarray(PIXELS[..., 0]).save(file),
        "a.png": lambda file: Image.fromarray(PIXELS).save(file),
        "alpha.png": lambda file: Image.fromarray(alpha).save(file),
        "palette.png": lambda file: Image.fromarray(PIXELS).quantize(16).save(file),
    }
    python = load(bundles["onnx"])
    for name, save in files.items():
        file = tmp_path / name
        save(file)
        told = run(cli, *engine, "--json", bundles["onnx"], file)
        built_in = f"-DEDGECAP_WITH_{'JPEG' if name.endswith('jpg') else 'PNG'}" in flags
        if not built_in:
            assert "[image.format]" in told.stderr
            continue
        assert told.returncode == 0, told.stderr
        assert tuple(json.loads(told.stdout)["tokens"]) == python.caption(file)[0].tokens
        file.write_bytes(file.read_bytes()[:100])
        told = run(cli, *engine, "--json", bundles["onnx"], file)
        assert (told.returncode, told.stdout) == (2, "")
        assert told.stderr.startswith("edgecap-caption: ") and told.stderr.count("\n") == 1


def test_onnxruntime_reports_nothing(
    checked_cli: Path, bundles: dict[str, Path], engine: tuple[str, str], tmp_path: Path
) -> None:
    """Its reports, of 1.29 and later, begin with an id of the device in the home directory."""
    home, image = tmp_path / "home", tmp_path / "image.ppm"
    home.mkdir()
    Image.fromarray(PIXELS).save(image)
    command = [checked_cli, *engine, bundles["onnx"], image]
    done = subprocess.run(command, env={"HOME": str(home)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []
