"""The weights that come with the package, found without torch."""

from __future__ import annotations

from pathlib import Path

SUFFIX = ".safetensors"
PREFIX = "captioner-"
_DATA = Path(__file__).resolve().parent.parent / "data"


def shipped() -> dict[str, Path]:
    """The models that came with the package: name, such as S, to file."""
    return {called(file.stem): file for file in sorted(_DATA.glob(f"{PREFIX}*{SUFFIX}"))}


def called(model: str) -> str:
    """The name of a model that may be called as its bundles are: S of captioner-S."""
    return model.removeprefix(PREFIX)
