"""Models of schema 2 in C: what Python says on the same engine, token for token."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from c_edgecap import Captioner, Library, Refused, compile_c, engine_library
from tiny_bundles import shared_bundle

from edgecap.embed.project import write_project
from edgecap.runtime import load

# Models of other tokenizers and functions; `least`: of the works in faults.c that each can do.
FAULTY = [("kosmos-2", "tiny", 4), ("blip", "tiny", 4), ("clip", "tiny", 2)]
NOISE = np.random.default_rng(0)
IMAGES = [
    np.kron(NOISE.integers(0, 256, (5, 7, 3), np.uint8), np.ones((11, 9, 1), np.uint8)),
    NOISE.integers(0, 256, (90, 31, 3), np.uint8),
]


@pytest.fixture(scope="module")
def kosmos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_bundle(tmp_path_factory, "kosmos-2", "tiny")


@pytest.fixture
def captioner(library: Library, kosmos: Path) -> Iterator[Captioner]:
    opened = library.open(kosmos, library=engine_library("onnx"))
    yield opened
    opened.close()


@pytest.mark.parametrize("beams", [0, 1, 3])
def test_captions_are_those_of_python(captioner: Captioner, kosmos: Path, beams: int) -> None:
    python = load(kosmos)
    for image in IMAGES:
        for n in range(captioner.info.prompt_count):
            prompt = captioner.info.prompts[n].decode()
            said = captioner.describe(image, prompt=prompt, beams=beams)
            (expected,) = python.caption(image, prompt=prompt, beams=beams or None)
            assert (said.tokens, said.text, said.raw) == (
                expected.tokens,
                expected.text,
                expected.raw,
            )
            assert said.complete == expected.complete
            assert said.malformed == expected.malformed
            assert said.scores == pytest.approx(expected.scores, abs=2e-5)
            assert said.score == pytest.approx(expected.score, abs=2e-5)
            assert [phrase for phrase, _ in said.mentions] == [m.phrase for m in expected.mentions]


def test_pieces_make_up_the_text(captioner: Captioner, kosmos: Path) -> None:
    said = captioner.describe(IMAGES[0], on_piece=lambda _: 0)
    assert list(said.pieces) == list(load(kosmos).stream(IMAGES[0]))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"prompt": "nonsense"}, "prompt.unknown"),
        ({"language": "en"}, "prompt.only"),
        ({"rule": 0}, "prompt.only"),
        ({"most_tokens": 10_000}, "caption.length"),
        ({"beams": 33}, "caption.beams"),
        ({"beams": 2, "sample": 1}, "caption.beams_sampled"),
        ({"sample": 1, "temperature": 0.0}, "sampling.temperature"),
    ],
)
def test_what_cannot_be_asked(captioner: Captioner, changes: dict[str, object], code: str) -> None:
    with pytest.raises(Refused) as refused:
        captioner.describe(IMAGES[0], **changes)
    assert refused.value.code == code


@pytest.mark.full
@pytest.mark.parametrize(("family", "variant", "least"), FAULTY)
def test_memory_that_runs_out_at_every_allocation(
    family: str, variant: str, least: int, faults: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = shared_bundle(tmp_path_factory, family, variant)
    run = subprocess.run([faults, bundle, engine_library("onnx")], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    failures, _, _, works, _ = run.stdout.split()
    assert int(failures) > 50 and int(works) >= least


def test_a_project_builds_and_captions(kosmos: Path, tmp_path: Path) -> None:
    project = write_project("c", kosmos, tmp_path / "project")
    sources = [str(file) for file in [project / "main.c", *(project / "edgecap").glob("*.c")]]
    program = tmp_path / "captions"
    compile_c("-O1", f"-I{project / 'edgecap'}", *sources, "-o", str(program), "-lm", "-ldl")
    pixels = tmp_path / "image.rgb"
    pixels.write_bytes(IMAGES[1].tobytes())
    command = [program, project / "model.edgecap", pixels, "31", "90", engine_library("onnx")]
    run = subprocess.run(command, capture_output=True, text=True)
    (expected,) = load(kosmos).caption(IMAGES[1])
    assert (run.returncode, run.stdout) == (0, expected.text + "\n"), run.stderr


def test_texts_of_a_model_without_them(captioner: Captioner) -> None:
    assert captioner.info.text_tokens == 0
    with pytest.raises(Refused) as refused:
        captioner.embed_tokens([1, 2])
    assert refused.value.code == "embedding.missing"
