"""The reference model as what bundles are made from: see sources."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import edgecap
from edgecap.bundle.confidence_spec import CONFIDENCE
from edgecap.bundle.golden import Golden, write_golden
from edgecap.bundle.manifest import Function, Manifest
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.core.formats import (
    FORMATS,
    INT8,
    INT8_CANDIDATES,
    INT8_PRECISIONS,
    Format,
    load_object,
)
from edgecap.core.typed import dump
from edgecap.exporters.card import FINETUNED, About
from edgecap.exporters.estimate import Estimate, reference_size
from edgecap.exporters.opened import OpenModel, open_model
from edgecap.exporters.planning import Chosen, read_plan
from edgecap.exporters.reference_plan import ReferencePlanner
from edgecap.exporters.sources import Model, Source
from edgecap.exporters.spec import Candidates, ExportRequest, ExportSpec
from edgecap.quant.plan import fingerprint
from edgecap.quant.samples import CalibrationSpec
from edgecap.reference.manifest import LICENSE, build_manifest
from edgecap.reference.scenes.shipped import SETS
from edgecap.reference.shipped import calibration_for, write_tokenizer

SCENES = 64  # that the gate compares by default
MOST_AT_ONCE = 32  # tokens of one step
EXTENDED = ("onnx", "tflite")  # formats that have `extend`
# Peak of an export of the shipped model with its verification, measured; weights are small.
MEMORY = 2 << 30
Say = Callable[[str], None]


class ReferenceSource(Source):
    """A file of weights."""

    license = LICENSE

    def __init__(self, model: str) -> None:
        """Raises InputError for a name or a path that is no weights."""
        from edgecap.reference.model import weights

        self.name, self.path = weights.resolve(model)
        self.family = f"reference {self.name}"

    def check(self, request: ExportRequest) -> None:
        scenes, most = request.images(SCENES), SETS["gate"][1]
        if not 4 <= scenes <= most:
            raise InputError("export.scenes", f"scenes must be in 4 … {most}, got {scenes}.")
        if request.data is not None:
            raise UnsupportedError(
                "max_drop.data",
                f"--data is for Hugging Face checkpoints, and {request.model} is of the reference "
                "model, whose captions are judged on drawn scenes.",
                "Leave it out.",
            )
        given = {
            "--max-length": request.max_length,
            "--prompt": request.prompt,
            "--image-size": request.image_size,
        }
        flags = ", ".join(flag for flag, value in given.items() if value is not None)
        if flags:
            raise UnsupportedError(
                "export.reference",
                f"{flags}: of Hugging Face checkpoints, and {request.model} is of the reference "
                "model, which has no such settings.",
                "Leave it out.",
            )
        _check_extend(request)
        for row in (FORMATS[name] for name in request.formats):
            precision = self.candidates(request, row).precisions[0]
            options = request.spec(row, precision).options
            if options is not None:
                options.check(precision)
        _check_options(request)
        request.check_plan(INT8_PRECISIONS, request.calibration != CalibrationSpec())
        if request.plan is not None:
            read_plan(request.plan, request.precision, self.name, fingerprint(self.path))

    def candidates(self, request: ExportRequest, row: Format) -> Candidates:
        if request.max_drop is not None:
            precisions: tuple[str, ...] = ("mixed",)
        elif request.precision != INT8:
            precisions = (request.precision,)
        else:
            known = tuple(one for one in INT8_CANDIDATES if one in row.precisions)
            precisions = known if request.plan is None else known[:1]
        if not precisions or not set(precisions) <= set(row.precisions):
            raise UnsupportedError(
                "export.combination",
                f"{row.name} has no {request.precision}; it has {', '.join(row.precisions)}.",
            )
        return Candidates(precisions)

    def expect(self, format_: str, precision: str) -> Estimate:
        stored = self.path.stat().st_size
        chosen = INT8_CANDIDATES[0] if precision == INT8 else precision
        return Estimate(reference_size(stored, format_, chosen), MEMORY, 4 * stored)

    def check_settings(self, request: ExportRequest) -> None:
        """It has neither; `check` refuses both."""

    def parameters(self, request: ExportRequest) -> int | None:
        """Its weights file shows its size."""
        return None

    def open(self, request: ExportRequest, say: Say) -> ReferenceModel:
        say(f"loading {self.path.name}")
        opened = open_model(self.name, self.path)
        return ReferenceModel(request, opened, ReferencePlanner(request, opened, say))


def _check_extend(request: ExportRequest) -> None:
    if request.extend is None:
        return
    if not 2 <= request.extend <= MOST_AT_ONCE:
        raise InputError(
            "export.extend", f"extend must be in 2 … {MOST_AT_ONCE} tokens, got {request.extend}."
        )
    for name in request.formats:
        if name not in EXTENDED:
            raise UnsupportedError(
                "export.extend",
                f"--extend is of ONNX and TFLite bundles, and {name} was requested.",
                "Leave it out.",
            )


def _check_options(request: ExportRequest) -> None:
    for options in request.options:
        owner = _format_of(options)
        if owner not in request.formats:
            names = " and ".join(vars(options))
            raise UnsupportedError(
                "export.options",
                f"{names} are options of {owner}, and the request is for "
                f"{', '.join(request.formats)}.",
                "Leave them out, or add that format.",
            )


def _format_of(options: Any) -> str:
    """The name of the format that has these options."""
    for name, row in FORMATS.items():
        if row.options is not None and isinstance(options, load_object(row.options)):
            return name
    return "no known format"


class ReferenceModel(Model):
    """Weights in memory."""

    gate = "edgecap.exporters.parity.gate"

    def __init__(
        self, request: ExportRequest, opened: OpenModel, planner: ReferencePlanner
    ) -> None:
        self.name = opened.name
        self._request, self._opened, self._planner = request, opened, planner
        self._golden: Golden | None = None  # with tolerances of no precision yet
        self._spread = 0.0  # of the logits that golden files are judged by

    def choose(self, precision: str) -> Chosen:
        return self._planner.choose(precision)

    def write_reference(self, folder: Path, say: Say) -> int:
        # A bundle that is not compared needs a few scenes, for its golden files.
        from edgecap.exporters.parity import collect

        request, reference = self._request, self._opened.reference
        say("running PyTorch")
        scenes = collect.gate_inputs(reference, request.images(SCENES))  # uint8 [N,S,S,3]
        self._golden = collect.golden(reference, scenes)
        few = scenes if request.verify else scenes[: len(self._golden.index.cases)]
        outputs = collect.collect(reference, few, request.verify and request.attention)
        outputs.write(folder)
        self._spread = outputs.spread
        return len(few)

    def convert(
        self, row: Format, spec: ExportSpec, chosen: Chosen, directory: Path
    ) -> dict[str, Function]:
        places: dict[str, Function] = load_object(row.converter)(
            chosen.model, spec, directory, chosen.plan
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
        from edgecap.exporters.parity import collect

        opened = self._opened
        write_tokenizer(directory, opened.extension)
        calibration = calibration_for(opened.weights)
        if calibration is not None:
            (directory / CONFIDENCE).write_bytes(dump(calibration))
        assert self._golden is not None  # it was asked
        write_golden(directory, collect.tolerating(self._golden, spec.precision, self._spread))
        return build_manifest(
            opened.network.config,
            name=spec.bundle_name(opened.name),
            model=opened.name,
            format=spec.format,
            precision=spec.precision,
            functions=functions,
            cache="float16" if spec.precision in row.half_cache else "float32",
            batch=row.batch_at(spec.precision),
            extend=spec.extend,
            plan=chosen.summary(),
            tools={"edgecap": edgecap.__version__} | {t.name: version(t.name) for t in row.tools},
            extension=opened.extension,
            weights=opened.weights,
        )

    def compare(self, chosen: Chosen, directory: Path) -> None:
        """Its converters compare, each graph before any pass touches its weights: see verify."""

    def about(self, manifest: Manifest) -> About:
        dims, training = manifest.interface.dims, self._opened.facts
        return About(
            "An image captioner that names things, says where they are, and gives images and texts "
            "vectors in one space. **It was trained on drawn scenes** (emoji and coloured shapes) "
            f"{_since(training)}.",
            f"{manifest.model.source}: {dims['L']} layers, width {dims['H'] * dims['Dh']}, "
            f"vocabulary {dims['V']}",
            training,
        )


def _since(training: dict[str, Any]) -> str:
    """What those scenes leave it without, unless it has learned from other images since."""
    if any(key.startswith(FINETUNED) for key in training):
        return "and then on other captions (see Training)"
    return "and does not understand photographs"
