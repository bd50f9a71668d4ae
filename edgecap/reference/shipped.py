"""What comes with the package, found without torch: weights and a tokenizer."""

from __future__ import annotations

from pathlib import Path

from edgecap.bundle.manifest import TOKENIZER
from edgecap.reference.extension import SHIPPED, Extension
from edgecap.runtime.tokenizer import Tokenizer

SUFFIX = ".safetensors"
PREFIX = "captioner-"
_DATA = Path(__file__).resolve().parent / "data"


def shipped() -> dict[str, Path]:
    """The models that came with the package: name, such as S, to file."""
    return {called(file.stem): file for file in sorted(_DATA.glob(f"{PREFIX}*{SUFFIX}"))}


def called(model: str) -> str:
    """The name of a model that may be called as its bundles are: S of captioner-S."""
    return model.removeprefix(PREFIX)


def tokenizer_data(extension: Extension = SHIPPED) -> bytes:
    """The tokenizer.json that came with the package, with what `extension` adds."""
    return extension.tokenizer((_DATA / TOKENIZER).read_bytes())


def shipped_tokenizer() -> Tokenizer:
    """The tokenizer that came with the package."""
    return Tokenizer(tokenizer_data(), TOKENIZER)
