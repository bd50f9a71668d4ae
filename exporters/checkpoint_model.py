"""A Hugging Face checkpoint as what bundles are made from: see sources.

Nothing here knows a family: adapters do (edgecap.models).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgecap
from edgecap.bundle.files import ENCODER, TOKENIZER
from edgecap.bundle.generation_spec import MAX_NEW_TOKENS
from edgecap.bundle.manifest import SCHEMA, Function, Manifest, ModelInfo
from edgecap.bundle.text_spec import text_spec_to_json
from edgecap.core.digest import file_sha256
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.core.formats import (
    INT8,
    INT8_CANDIDATES,
    INT8_PRECISIONS,
    STATIC_PRECISIONS,
    Format,
)
from edgecap.core.progress import working
from edgecap.exporters.card import About
from edgecap.exporters.checkpoint_images import gate_images, reference_outputs
from edgecap.exporters.checkpoint_plan import CheckpointPlanner, fingerprint, read_references
from edgecap.exporters.compare_functions import compare_functions
from edgecap.exporters.described import Described, describe
from edgecap.exporters.estimate import Estimate, estimate
from edgecap.exporters.planning import Chosen, read_plan
from edgecap.exporters.quiet import quiet
from edgecap.exporters.sources import Model, Source
from edgecap.exporters.spec import Candidates, ExportRequest, ExportSpec
from edgecap.models import registry
from edgecap.models.checkpoint import open_checkpoint
from edgecap.quant.samples import CalibrationSpec
from edgecap.runtime.memory import free_bytes

if TYPE_CHECKING:
    from edgecap.models.adapter import Adapter
    from edgecap.models.checkpoint import Checkpoint

PRECISIONS = ("fp32", "fp16", *INT8_PRECISIONS)
IMAGES = 8  # that the gate compares by default
GIB = 1 << 30
Say = Callable[[str], None]


class CheckpointSource(Source):
    """A directory in the layout of transformers, or a hub id in the local cache."""

    needs = ("transformers",)

    def __init__(self, model: str) -> None:
        """Raises InputError for a directory that is not whole, UnsupportedError for its model."""
        self.opened = open_checkpoint(model)
        self.name, self.family = self.opened.name, self.opened.model_type
        self.license = self.opened.license

    def check(self, request: ExportRequest) -> None:
        self._check_options(request)
        if request.precision not in (*PRECISIONS, INT8):
            raise UnsupportedError(
                "export.combination",
                f"{self.family} is exported as {', '.join(PRECISIONS)}, "
                f"and {request.precision} was requested.",
                "Run with: --precision fp16",
            )
        self._check_length(request)
        images = request.images(IMAGES)
        if not 1 <= images <= 128:
            raise InputError("export.scenes", f"images must be in 1 … 128, got {images}.")
        # A directory of images is compared on, too, where nothing is calibrated.
        calibrated = replace(request.calibration, data=None) != CalibrationSpec()
        request.check_plan(STATIC_PRECISIONS, calibrated)
        if request.plan is not None:
            weights = fingerprint(self.opened)
            read_plan(request.plan, request.precision, self.opened.source, weights)
        if request.data is not None:
            if request.max_drop is None:
                raise InputError(
                    "max_drop.data",
                    "--data is what a search for a plan is judged by, and none was requested.",
                    "Add a budget, as --max-drop 0.5, or leave --data out.",
                )
            read_references(request.data, request.data_images)

    def _check_length(self, request: ExportRequest) -> None:
        if request.max_length is None:
            return
        if not registry.find(self.family, self.opened.architecture).captions:
            raise UnsupportedError(
                "export.checkpoint",
                f"--max-length: of captions, and {self.opened.source} writes none.",
                "Leave it out.",
            )
        if not 1 <= request.max_length <= MAX_NEW_TOKENS:
            raise InputError(
                "export.length",
                f"--max-length must be in 1 … {MAX_NEW_TOKENS}, got {request.max_length}.",
            )

    def _check_options(self, request: ExportRequest) -> None:
        given = {
            "--attention": request.attention,
            "--extend": request.extend is not None,
            "--target and --stateful": bool(request.options),
        }
        flags = ", ".join(flag for flag, used in given.items() if used)
        if flags:
            raise UnsupportedError(
                "export.checkpoint",
                f"{flags}: of the reference model, and {request.model} is a Hugging Face "
                "checkpoint.",
                "Leave it out.",
            )

    def candidates(self, request: ExportRequest, row: Format) -> Candidates:
        plan_decides = request.plan is not None or request.max_drop is not None
        if request.precision not in (INT8, "w8a8") and not plan_decides:
            return Candidates((request.precision,))
        why = self._uncalibrated(request)
        if why is None:
            if plan_decides:
                return Candidates(("mixed",))
            return Candidates(INT8_CANDIDATES if request.precision == INT8 else ("w8a8",))
        if request.precision == INT8 and not plan_decides:
            return Candidates(("w8",), why)
        raise UnsupportedError("export.w8a8", f"{why}.", "Run with: --precision w8")

    def _uncalibrated(self, request: ExportRequest) -> str | None:
        """Why w8a8, whose grids need captions of images, cannot be reached; None where it can."""
        if not registry.find(self.family, self.opened.architecture).captions:
            return (
                f"{self.opened.source} writes no captions, which grids of activations are "
                "calibrated on"
            )
        needed = max(estimate(self.opened, name, "w8a8").memory for name in request.formats)
        if needed <= free_bytes():
            return None
        return (
            f"calibration needs the model in memory, {needed / GIB:.1f} GiB with what converts it, "
            f"and {free_bytes() / GIB:.1f} GiB are free"
        )

    def expect(self, format_: str, precision: str) -> Estimate:
        stored = INT8_CANDIDATES[0] if precision == INT8 else precision
        return estimate(self.opened, format_, stored)

    def check_settings(self, request: ExportRequest) -> None:
        settings = (request.prompt, request.max_length, request.image_size)
        if any(setting is not None for setting in settings):
            self._outline(request)

    def parameters(self, request: ExportRequest) -> int | None:
        model = self._outline(request).model
        with quiet():
            from edgecap.models.weightless import stored

            stored(model, self.opened)
        return sum(parameter.numel() for parameter in model.parameters())

    def _outline(self, request: ExportRequest) -> Adapter:
        """The adapter of shapes alone, after `open`'s refusals: no weights are read."""
        with quiet():
            from edgecap.models.weightless import without_weights

            adapter = _load(self.opened, request, without_weights)
        describe(adapter, self.opened, request.max_length)
        return adapter

    def open(self, request: ExportRequest, say: Say) -> CheckpointModel:
        opened = self.opened
        say(f"loading {opened.source} ({opened.model_type})")
        with working("loading"), quiet():
            adapter = _load(opened, request)
        described = describe(adapter, opened, request.max_length)
        planner = CheckpointPlanner(request, opened, adapter, described, say)
        return CheckpointModel(request, opened, adapter, described, planner)


def _load(
    opened: Checkpoint, request: ExportRequest, build: Callable[..., Any] | None = None
) -> Adapter:
    """The adapter with what was requested of it."""
    return registry.load(
        opened,
        prompt=request.prompt,
        build=build,
        max_length=request.max_length,
        image_size=request.image_size,
    )


class CheckpointModel(Model):
    """An adapter around a model in memory."""

    gate = "edgecap.exporters.parity.words"

    def __init__(
        self,
        request: ExportRequest,
        opened: Checkpoint,
        adapter: Adapter,
        described: Described,
        planner: CheckpointPlanner,
    ) -> None:
        self.name = opened.name
        self._request, self._opened, self._adapter = request, opened, adapter
        self._described, self._planner = described, planner

    def choose(self, precision: str) -> Chosen:
        return self._planner.choose(precision)

    def write_reference(self, folder: Path, say: Say) -> int:
        request, described = self._request, self._described
        if not request.verify:
            return 0
        images = gate_images(request.calibration, request.images(IMAGES), described.image)
        say(f"running PyTorch on {len(images)} images")
        reference_outputs(self._adapter, described.prompts, images).write(folder)
        return len(images)

    def convert(
        self, row: Format, spec: ExportSpec, chosen: Chosen, directory: Path
    ) -> dict[str, Function]:
        writer = import_module(f"edgecap.exporters.{row.name}.functions")
        places: dict[str, Function] = writer.export(
            self._adapter, directory, spec.precision, chosen.model
        )
        return places

    def describe(
        self,
        row: Format,
        spec: ExportSpec,
        chosen: Chosen,
        functions: dict[str, Function],
        directory: Path,
    ) -> Manifest:
        adapter, opened, described = self._adapter, self._opened, self._described
        if described.text is not None:
            text = json.dumps(text_spec_to_json(described.text), ensure_ascii=False)
            (directory / TOKENIZER).write_bytes(text.encode())
        if described.encoder is not None:
            (directory / ENCODER).write_bytes(described.encoder)
        tools = (*(tool.name for tool in row.tools), "transformers")
        weights = file_sha256(opened.weights[0]) if len(opened.weights) == 1 else None
        return Manifest(
            schema=SCHEMA,
            name=spec.bundle_name(opened.name),
            model=ModelInfo(opened.model_type, adapter.source, adapter.license, weights),
            format=spec.format,
            precision=spec.precision,
            interface=replace(adapter.interface, batch=row.batch_at(spec.precision)),
            functions=functions,
            image=described.image,
            tokenizer=None if described.text is None else TOKENIZER,
            encoder=None if described.encoder is None else ENCODER,
            prompts=described.prompts,
            regions=described.regions,
            plan=chosen.summary(),
            tools={"edgecap": edgecap.__version__} | {tool: version(tool) for tool in tools},
            files={},
        )

    def compare(self, chosen: Chosen, directory: Path) -> None:
        with working("comparing functions"):
            compare_functions(self._adapter, directory, rounded=chosen.model)

    def about(self, manifest: Manifest) -> About:
        model = manifest.model
        text = f"{model.source} ({model.family}), exported by edgecap. {self._adapter.note}"
        return About(text.rstrip(), model.source)
