"""A text in a script that a model cannot read is refused, whatever languages it has learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from edgecap.apps.texts import check_words
from edgecap.core.errors import InputError
from edgecap.models.loading import load
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.extension import Extension
from edgecap.reference.model import weights
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.train import extend_vocabulary
from edgecap.runtime import Captioner

KOREAN = ["빨간 원 한 개.", "빨간 별 두 개.", "파란 원 한 개."]
DUTCH = ["Een rode cirkel.", "Twee honden."]
THAI = "สุนัขสีแดง"


def taught(folder: Path, lang: str, captions: Sequence[str]) -> Captioner:
    """A model with a language more, as `edgecap finetune` gives it; it knows nothing."""
    torch.manual_seed(0)
    model = CaptionModel(CaptionerConfig(width=16, layers=1, heads=1, embedding=8))
    after = extend_vocabulary.extend(Extension(), lang, captions)
    path = folder / f"{lang}.safetensors"
    weights.save(extend_vocabulary.resize_embeddings(model, Extension(), after), path, {}, after)
    return load(path)


@pytest.mark.parametrize(
    ("lang", "captions", "read", "unread"),
    [
        ("nl", DUTCH, ["een hond", "犬", "빨간 cirkel"], [THAI, "빨간 원", "🐶"]),
        ("ko", KOREAN, ["빨간 별", "a dog"], [THAI, "뷁뷁"]),
        ("th", [THAI, f"{THAI}!"], [THAI], ["빨간 원"]),
    ],
)
def test_an_added_language_opens_its_own_script_only(
    tmp_path: Path, lang: str, captions: list[str], read: list[str], unread: list[str]
) -> None:
    captioner = taught(tmp_path, lang, captions)
    assert lang in captioner.languages
    for text in read:
        check_words(captioner, text)
    for text in unread:
        with pytest.raises(InputError, match=r"no words for .*, ja, " + lang):
            check_words(captioner, text)
