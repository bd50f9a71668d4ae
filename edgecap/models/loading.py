"""Opening what a user names: a bundle on its engine, or weights on PyTorch."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgecap.bundle.container import SUFFIX as PACKED
from edgecap.bundle.files import MANIFEST
from edgecap.bundle.io import bundles_in
from edgecap.core import hub
from edgecap.core.choices import pick
from edgecap.core.errors import BundleError, InputError, UnsupportedError
from edgecap.models.checkpoint import CONFIG, PICKLES, open_checkpoint
from edgecap.reference.shipped import SUFFIX, calibration_for, called, shipped
from edgecap.runtime import loading
from edgecap.runtime.backends import check_backend
from edgecap.runtime.confidence import Minimum, check_minimum

DEFAULT = "S"
DEVICES = ("cpu", "cuda")


def load(
    source: str | os.PathLike[str],
    backend: str = "auto",
    threads: int = 1,
    device: str = "cpu",
    min_confidence: Minimum = None,
) -> Any:
    """Open a captioner.

    Args:
        source: a bundle directory, or the hub id of one in the local cache (org/name@revision);
            or, on PyTorch, the directory or hub id of a Hugging Face checkpoint, a shipped model's
            name ("S") or a .safetensors file of the reference.
        backend: "auto" takes the one that runs what was given; or onnx, tflite, coreml (macOS),
            mlprogram (CoreML evaluated anywhere), torch.
        threads: CPU threads: the engine's for one image; several images are captioned side by
            side, each on one thread.
        device: cpu, or cuda for the PyTorch reference on a GPU.
        min_confidence: as of `edgecap.runtime.load`.

    Raises:
        BundleError for a bundle that cannot be trusted or run, InputError for an unknown name,
        UnsupportedError for a backend that cannot run it, MissingPackageError.
    """
    check_backend(backend, "torch")
    pick("device", device, DEVICES)
    loading.check_threads(threads)
    if not str(source):
        raise InputError("bundle.missing", "a bundle or model needs a name, and it is empty.")
    given = hub.resolve(source)
    is_weights = given.suffix == SUFFIX or (not given.exists() and called(str(source)) in shipped())
    if given.suffix in PICKLES and given.is_file():
        open_checkpoint(given)  # refuses it, and says how to convert it
    if backend in ("auto", "torch") and (given / CONFIG).is_file():
        from edgecap.models.checkpoint_captioner import CheckpointCaptioner

        check_minimum(min_confidence, None)  # a calibration belongs to a bundle
        return CheckpointCaptioner(given, threads)
    if backend == "torch" or (backend == "auto" and is_weights):
        from edgecap.reference.model.session import load_reference

        captioner = load_reference(str(source), threads, device)
        captioner.set_confidence(calibration_for(captioner.weights), min_confidence)
        return captioner
    if len(given.parts) == 1 and not given.exists():
        raise BundleError(
            "bundle.missing",
            f"{given} is neither a bundle here nor a shipped model ({', '.join(shipped())}).",
            f"Make a bundle with: edgecap export --format tflite --int8 -o {given}",
        )
    if device != "cpu":
        raise UnsupportedError(
            "device.backend", f"{device} is for the torch backend; bundles run on the CPU."
        )
    return loading.load(given, backend, threads, min_confidence=min_confidence)


def default_model(here: Path) -> tuple[str, str]:
    """(what to load, why): the newest bundle in a directory, else the shipped weights on PyTorch.

    Raises InputError where there is neither.
    """
    bundles = {bundle: bundle / MANIFEST for bundle in bundles_in(here)}
    bundles |= {packed: packed for packed in here.glob(f"*{PACKED}") if packed.is_file()}
    if bundles:
        newest = max(bundles, key=lambda bundle: bundles[bundle].stat().st_mtime)
        return str(newest), "the newest bundle here"
    names = list(shipped())
    if names and find_spec("torch") is not None:
        name = DEFAULT if DEFAULT in names else names[0]
        return name, "no bundle here, so the shipped weights on PyTorch"
    raise InputError(
        "bundle.none",
        "no bundle was named, and the working directory holds none.",
        "Make one with: edgecap export --format tflite --int8",
    )
