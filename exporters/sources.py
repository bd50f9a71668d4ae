"""What bundles are made from: weights of the reference model, or a Hugging Face checkpoint.

A source is known from its files alone and refuses what cannot work. Opened, it is a model that a
job converts. There are two of each: reference_model and checkpoint_model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from edgecap.bundle.files import MANIFEST
from edgecap.core.errors import InputError
from edgecap.models.checkpoint import CONFIG
from edgecap.reference.shipped import SUFFIX, called, shipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgecap.bundle.manifest import Function, Manifest
    from edgecap.core.formats import Format
    from edgecap.exporters.card import About
    from edgecap.exporters.estimate import Estimate
    from edgecap.exporters.planning import Chosen
    from edgecap.exporters.spec import Candidates, ExportRequest, ExportSpec


class Model(ABC):
    """A model that is open for export."""

    name: str  # what its bundles are called
    gate: str  # the module that compares a bundle with it: parity.run

    @abstractmethod
    def choose(self, precision: str) -> Chosen:
        """What reaches a precision, made once for all formats.

        Raises InputError for a plan that is not for this model, and GateError where a search finds
        none within its budget.
        """

    @abstractmethod
    def write_reference(self, folder: Path, say: Callable[[str], None]) -> int:
        """Write PyTorch's outputs into an empty folder, for the gate; the number of images.

        Only what the request needs is computed.
        """

    @abstractmethod
    def convert(
        self, row: Format, spec: ExportSpec, chosen: Chosen, directory: Path
    ) -> dict[str, Function]:
        """Write the model's files of a format; returns where each function lies."""

    @abstractmethod
    def describe(
        self,
        row: Format,
        spec: ExportSpec,
        chosen: Chosen,
        functions: dict[str, Function],
        directory: Path,
    ) -> Manifest:
        """Write tokenizer and golden files; returns the manifest, its files not known yet."""

    @abstractmethod
    def compare(self, chosen: Chosen, directory: Path) -> None:
        """GateError where a function of the written bundle is not that of PyTorch."""

    @abstractmethod
    def about(self, manifest: Manifest) -> About:
        """What the card says of this model alone."""


class Source(ABC):
    """A model before it is opened."""

    name: str  # what its bundles are called
    family: str
    license: str
    needs: tuple[str, ...] = ()  # modules that opening it imports, beside those of the formats

    @abstractmethod
    def check(self, request: ExportRequest) -> None:
        """Raise InputError or UnsupportedError for what this model cannot do."""

    @abstractmethod
    def candidates(self, request: ExportRequest, row: Format) -> Candidates:
        """The precisions to try for a format.

        A plan that is given or searched for may have another precision than the one tried. Raises
        UnsupportedError where there is none.
        """

    @abstractmethod
    def expect(self, format_: str, precision: str) -> Estimate:
        """What an export is expected to write and need; `precision` may be int8."""

    @abstractmethod
    def parameters(self, request: ExportRequest) -> int | None:
        """Their number, where it is known without weights.

        Raises InputError or UnsupportedError for what an export with the prompt, length and image
        size of `request` would refuse after opening.
        """

    @abstractmethod
    def check_settings(self, request: ExportRequest) -> None:
        """Raise UnsupportedError for a prompt, length or image size that the model itself refuses.

        Called after `check`, when the packages that it needs are known to be there.
        """

    @abstractmethod
    def open(self, request: ExportRequest, say: Callable[[str], None]) -> Model:
        """Load it."""


def source_of(model: str) -> Source:
    """The source that a name, a file or a directory stands for.

    Raises InputError and UnsupportedError where it is none.
    """
    if is_checkpoint(model):
        from edgecap.exporters.checkpoint_model import CheckpointSource

        return CheckpointSource(model)
    from edgecap.exporters.reference_model import ReferenceSource

    return ReferenceSource(model)


def is_checkpoint(model: str) -> bool:
    """Whether `model` is, or should have been, a checkpoint and not weights of the reference.

    Raises InputError for a bundle, and for a file that its directory should be given for.
    """
    path = Path(model)
    if (path / MANIFEST).is_file():
        raise InputError(
            "export.bundle",
            f"{model} is a bundle, which was exported already.",
            "Give the model that it was made from.",
        )
    if path.is_file():
        beside = (path.parent / CONFIG).is_file()
        if beside and path.suffix == SUFFIX:
            raise InputError(
                "model.file",
                f"{model} is one file of a checkpoint.",
                f"Give its directory: edgecap export {path.parent}",
            )
        return path.suffix != SUFFIX
    if path.is_dir() or path.suffix == SUFFIX or called(model) in shipped():
        return path.is_dir()
    if len(path.parts) == 1:
        raise InputError(
            "model.unknown",
            f"{model} is neither a directory here nor a shipped model ({', '.join(shipped())}).",
            "Give the directory of a checkpoint, or its hub id: edgecap export org/name",
        )
    return True  # a hub id, or a directory that is not there
