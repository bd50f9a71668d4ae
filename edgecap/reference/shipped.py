"""Weights and tokenizer shipped with the package; needs no torch."""

from __future__ import annotations

from pathlib import Path

from edgecap.bundle.confidence_spec import CONFIDENCE, Calibration, calibration_from_json
from edgecap.bundle.files import ENCODER, TOKENIZER
from edgecap.bundle.text_spec import text_spec_to_json
from edgecap.core.typed import dump
from edgecap.reference.extension import SHIPPED, Extension
from edgecap.runtime.text.from_tokenizer import codec_of
from edgecap.runtime.tokenizer import Tokenizer

SUFFIX = ".safetensors"
PREFIX = "captioner-"
_DATA = Path(__file__).resolve().parent / "data"


def shipped() -> dict[str, Path]:
    """The shipped models: name, such as S, to file."""
    return {called(file.stem): file for file in sorted(_DATA.glob(f"{PREFIX}*{SUFFIX}"))}


def called(model: str) -> str:
    """The short name of a model: S for captioner-S."""
    return model.removeprefix(PREFIX)


def calibration_for(weights: str | None) -> Calibration | None:
    """The shipped calibration of confidences, for the weights that it was fitted to only.

    `weights`: hex SHA-256. Made by `python -m edgecap.benchmarks.reference.abstention --fit`.
    """
    found = calibration_from_json((_DATA / CONFIDENCE).read_bytes())
    return found if weights == found.weights else None


def tokenizer_data(extension: Extension = SHIPPED) -> bytes:
    """The shipped tokenizer.json, with the tokens that `extension` adds."""
    return extension.tokenizer((_DATA / TOKENIZER).read_bytes())


def write_tokenizer(directory: Path, extension: Extension = SHIPPED) -> None:
    """Write a bundle's two files: ids to text (TOKENIZER), and texts to ids (ENCODER)."""
    data = tokenizer_data(extension)
    spec = codec_of(Tokenizer(data, ENCODER)).spec
    (directory / TOKENIZER).write_bytes(dump(text_spec_to_json(spec)))
    (directory / ENCODER).write_bytes(data)


def shipped_tokenizer() -> Tokenizer:
    """The shipped tokenizer."""
    return Tokenizer(tokenizer_data(), TOKENIZER)
