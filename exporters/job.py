"""From weights to a verified bundle: load, convert, write, compare, rename.

Everything happens in a hidden directory beside the output (edgecap.core.atomic); an exception, a
failed gate or a kill leaves nothing under the final name.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import edgecap
from edgecap.bundle.certificate import Certificate, certificate_from_json, certificate_to_json
from edgecap.bundle.golden import write_golden
from edgecap.bundle.io import finalize, is_bundle, open_bundle
from edgecap.bundle.manifest import CARD, CERTIFICATE, FRONT, SEARCH, TOKENIZER, Function, Manifest
from edgecap.core.atomic import atomic_dir, refuse_existing
from edgecap.core.digest import file_sha256
from edgecap.core.errors import GateError, InputError, UnsupportedError
from edgecap.core.formats import FORMATS, INT8_PRECISIONS
from edgecap.core.lazy import require
from edgecap.core.typed import read_json
from edgecap.exporters import EXPORTERS
from edgecap.exporters.card import card
from edgecap.exporters.planning import make_plan, read_plan
from edgecap.exporters.quiet import quiet
from edgecap.exporters.spec import CoremlOptions, ExportSpec
from edgecap.quant import plan as plans
from edgecap.reference.extension import Extension
from edgecap.reference.manifest import build_manifest
from edgecap.reference.shipped import tokenizer_data
from edgecap.runtime.tokenizer import Tokenizer

if TYPE_CHECKING:
    from edgecap.reference.model.captioner import CaptionModel
    from edgecap.runtime.captioner import Captioner

GATE_SECONDS = 1800  # a gate that hangs is a gate that fails


@dataclass(frozen=True)
class Exported:
    """A finished bundle."""

    path: Path
    manifest: Manifest
    size: int  # bytes of the model files
    certificate: Certificate | None  # None: not verified
    seconds: float


def check(spec: ExportSpec) -> Path:
    """The output directory, after refusing what cannot work; nothing is loaded or written."""
    from edgecap.reference.model import weights

    known = FORMATS[spec.format]
    if spec.precision not in known.precisions:
        raise UnsupportedError(
            "export.combination",
            f"{spec.format} has no {spec.precision}; it has {', '.join(known.precisions)}.",
        )
    if spec.format == "coreml":
        spec.coreml.check(spec.precision)
    elif spec.coreml != CoremlOptions():
        raise UnsupportedError(
            "export.coreml_only",
            f"--target and --stateful are CoreML's, and the format is {spec.format}.",
            "Leave them out, or run with: --format coreml",
        )
    if not 4 <= spec.scenes <= 512:
        raise InputError("export.scenes", f"scenes must be in 4 … 512, got {spec.scenes}.")
    spec.check_plan()
    name, path = weights.resolve(spec.model)
    if spec.plan is not None:
        read_plan(spec, spec.plan, name, path)
    if spec.max_drop is not None:
        require("matplotlib", "export")  # for the image at the end of a long search
    output = spec.directory(name)
    refuse_existing(output, spec.overwrite, is_bundle)
    _require(spec)
    return output


def _require(spec: ExportSpec) -> None:
    """MissingPackageError unless what converts is installed, and what the gate runs it with."""
    exporter = EXPORTERS[spec.format]
    with quiet():  # some tell at import what they were not tested with
        for module in exporter.needs:
            require(module, "export")
        runs = spec.verify or spec.max_drop is not None  # a search times its plans
        if runs and exporter.engine is not None:
            require(exporter.engine, "export")


def export(spec: ExportSpec, say: Callable[[str], None] = lambda _: None) -> Exported:
    """Make the bundle that `spec` asks for; `say` is told about every stage.

    Raises InputError, UnsupportedError and MissingPackageError before work starts, and GateError
    where the result is not good enough.
    """
    from edgecap.exporters.parity import collect as references
    from edgecap.reference.model import weights
    from edgecap.reference.model.session import TorchSession, reference_captioner
    from edgecap.reference.quant import layer_widths, smooth

    begun = time.monotonic()
    output = check(spec)
    name, path = weights.resolve(spec.model)
    with atomic_dir(output, spec.overwrite, marker=is_bundle) as directory:
        say(f"loading {path.name}")
        network = weights.load(path)
        extension = weights.extension(path)
        tokenizer_bytes = tokenizer_data(extension)
        tokenizer = Tokenizer(tokenizer_bytes, TOKENIZER)
        plan, exported = None, network
        told: dict[str, Any] = {}  # of the plan, in the manifest
        if spec.precision in INT8_PRECISIONS:
            subject = reference_captioner(TorchSession(network), extension)
            plan, told = make_plan(spec, name, path, network, subject, directory, say)
            plans.check_layers(plan, layer_widths(network))
            spec = replace(spec, precision=plan.precision, max_drop=None)  # as the search chose
            exported = smooth(network, plan.smoothing)
        say(f"converting to {spec.format} {spec.precision}")
        with quiet():
            writer = import_module(EXPORTERS[spec.format].module)
            functions = writer.export(exported, spec, directory, plan)
        size = sum(
            file.stat().st_size
            for file in directory.rglob("*")
            if file.is_file() and file.name not in (plans.FILE, SEARCH, FRONT)
        )
        (directory / TOKENIZER).write_bytes(tokenizer_bytes)
        drafted = _draft(spec, name, network, functions, told, extension)
        manifest = replace(drafted, weights=file_sha256(path))
        say("asking PyTorch")
        asked = references.reference(network, manifest, tokenizer)
        model_inputs = _scenes("evaluation", spec.scenes, manifest)
        write_golden(directory, references.golden(asked, model_inputs, spec.precision))
        sealed = finalize(directory, manifest)
        certificate = None
        if spec.verify:
            certificate = _gate(directory, asked, model_inputs, say)
            (directory / CERTIFICATE).write_bytes(certificate_to_json(certificate))
        text = card(sealed, output.name, size, certificate, weights.facts(path))
        (directory / CARD).write_text(text, encoding="utf-8")
        sealed = finalize(directory, manifest)
        open_bundle(directory)
    return Exported(output, sealed, size, certificate, time.monotonic() - begun)


def _draft(
    spec: ExportSpec,
    name: str,
    network: CaptionModel,
    functions: dict[str, Function],
    plan: dict[str, Any],
    extension: Extension,
) -> Manifest:
    exporter = EXPORTERS[spec.format]
    halved = spec.format == "coreml" and spec.precision != "fp32"  # it computes in float16
    return build_manifest(
        network.config,
        name=f"{name}-{spec.format}-{spec.precision}",
        model=name,
        format=spec.format,
        precision=spec.precision,
        functions=functions,
        cache="float16" if halved else "float32",
        batch=1 if spec.precision in FORMATS[spec.format].dynamic else exporter.batch,
        plan=plan,
        tools={"edgecap": edgecap.__version__} | {t: version(t) for t in exporter.tools},
        languages=extension.languages,
    )


def _scenes(name: str, count: int, manifest: Manifest) -> np.ndarray:
    """The first scenes of a shipped set as model_inputs uint8 [N,S,S,3]."""
    from edgecap.reference.scenes.shipped import load_set
    from edgecap.runtime.preprocess import preprocess

    scenes = load_set(name, count)
    return np.stack([preprocess(image, manifest.preprocessing)[0] for image, _ in scenes])


def _gate(
    directory: Path, reference: Captioner, model_inputs: np.ndarray, say: Callable[[str], None]
) -> Certificate:
    """Run the parity gate in its own process; GateError unless it passes."""
    from edgecap.exporters.parity import collect as references

    with tempfile.TemporaryDirectory(prefix="edgecap-parity-") as scratch:
        references.collect(reference, model_inputs).write(Path(scratch))
        say(f"comparing on {len(model_inputs)} scenes, without torch")
        result = Path(scratch) / CERTIFICATE
        command = [sys.executable, "-P", "-m", "edgecap.exporters.parity.gate"]
        command += [str(directory), scratch, str(result)]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=GATE_SECONDS)
        except subprocess.TimeoutExpired:
            raise GateError(
                "parity.timeout", f"the parity gate did not end in {GATE_SECONDS} s."
            ) from None
        if run.returncode or not result.is_file():
            last = (run.stderr.strip().splitlines() or ["no message"])[-1]
            raise GateError(
                "parity.crashed",
                f"the bundle could not be run (exit status {run.returncode}): {last}",
                "Look at this machine's engines with: edgecap doctor",
            )
        certificate = certificate_from_json(read_json(result, CERTIFICATE))
    if certificate.failures:
        raise GateError(
            "parity.failed",
            f"{certificate.target} is not close enough to {certificate.reference}: "
            + "; ".join(certificate.failures)
            + ".",
            "Nothing was saved; --no-verify saves it all the same.",
        )
    return certificate
