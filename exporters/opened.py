"""A model that is open for export: its network, its words, and itself as the reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.core.digest import file_sha256
from edgecap.reference.extension import Extension

if TYPE_CHECKING:
    from edgecap.reference.model.captioner import CaptionModel
    from edgecap.runtime.captioner import Captioner


@dataclass(frozen=True)
class OpenModel:
    """What every bundle of an export is made from."""

    name: str
    network: CaptionModel  # float32
    reference: Captioner  # the same on PyTorch, behind the runtime's interface
    extension: Extension  # languages and tokens beyond the shipped ones
    weights: str  # hex SHA-256 of its file
    facts: dict[str, Any]  # of its training, for the card


def open_model(name: str, path: Path) -> OpenModel:
    """Load the weights in `path`; InputError for a file that is no captioner's."""
    from edgecap.reference.model import weights
    from edgecap.reference.model.session import TorchSession, reference_captioner

    network, extension = weights.load(path), weights.extension(path)
    sha256 = file_sha256(path)
    reference = reference_captioner(TorchSession(network), extension, name, str(path), sha256)
    return OpenModel(name, network, reference, extension, sha256, weights.facts(path))
