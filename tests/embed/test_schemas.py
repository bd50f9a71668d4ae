"""One model in both schemas: the core says the same of it to the last bit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_edgecap import Captioner, Library, Refused, engine_library
from schema1 import schema1_twin

from edgecap.runtime import load

Both = tuple[Captioner, Captioner]
PIXELS = np.random.default_rng(3).integers(0, 256, (61, 90, 3), np.uint8)


@pytest.fixture(scope="module")
def twin(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny ONNX bundle in schema 1."""
    made = schema1_twin(bundles["onnx"], tmp_path_factory.mktemp("schema1") / "twin")
    assert json.loads((made / "manifest.json").read_bytes())["schema"] == 1
    return made


@pytest.fixture(scope="module")
def both(library: Library, bundles: dict[str, Path], twin: Path) -> Iterator[Both]:
    one, two = (
        library.open(path, library=engine_library("onnx")) for path in (bundles["onnx"], twin)
    )
    yield one, two
    one.close()
    two.close()


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"language": "ja", "style": "relate"},
        {"boxes": 0},
        {"rule": 0, "beams": 2},
        {"beams": 5, "most_tokens": 12},
        {"sample": 1, "seed": 3, "temperature": 20.0},
    ],
    ids=str,
)
def test_captions(both: Both, asked: dict[str, Any]) -> None:
    one, two = (captioner.describe(PIXELS, **asked) for captioner in both)
    assert one.attention.any()
    np.testing.assert_array_equal(one.attention, two.attention)
    fields = {name: value for name, value in vars(one).items() if name != "attention"}
    assert fields == {name: getattr(two, name) for name in fields}


def test_pieces(both: Both) -> None:
    one, two = (captioner.describe(PIXELS, on_piece=lambda _: 0) for captioner in both)
    assert len(one.pieces) > 2 and one.pieces == two.pieces


def test_embeddings(both: Both, twin: Path) -> None:
    one, two = both
    np.testing.assert_array_equal(one.embed_image(PIXELS), two.embed_image(PIXELS))
    np.testing.assert_array_equal(one.embed_text(b"a dog"), two.embed_text(b"a dog"))
    np.testing.assert_array_equal(two.embed_text(b"a dog"), load(twin).embed_texts("a dog")[0])
    np.testing.assert_array_equal(one.embed_tokens([5, 6]), two.embed_tokens([5, 6]))


def test_info(both: Both) -> None:
    for name, _ in both[0].info._fields_:
        one, two = (getattr(captioner.info, name) for captioner in both)
        if name not in ("languages", "styles", "prompts"):
            assert one == two, name
    one, two = (c.info.languages[: c.info.language_count] for c in both)
    assert one == two and both[1].info.style_count > 1 and not both[1].info.prompts


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"prompt": "en.plain"}, "prompt.unknown"),
        ({"language": "xx"}, "language.unknown"),
        ({"style": "xx"}, "style.unknown"),
        ({"most_tokens": 1000}, "caption.length"),
        ({"beams": 33}, "caption.beams"),
    ],
)
def test_what_cannot_be_asked(both: Both, asked: dict[str, Any], code: str) -> None:
    for captioner in both:
        with pytest.raises(Refused) as refused:
            captioner.describe(PIXELS, **asked)
        assert refused.value.code == code
