"""Opening a captioner: a bundle on its engine, or weights on the PyTorch reference."""

from __future__ import annotations

import os
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from edgecap.bundle.draft import draft, same_names
from edgecap.bundle.io import Bundle, open_bundle
from edgecap.bundle.manifest import ATTENTION, FUNCTIONS, TOKENIZER
from edgecap.core.choices import pick
from edgecap.core.cores import MOST_THREADS
from edgecap.core.digest import file_sha256
from edgecap.core.errors import BundleError, InputError, UnsupportedError
from edgecap.core.extension import SHIPPED, Extension
from edgecap.core.shipped import SUFFIX, called, shipped
from edgecap.runtime.backends import BACKENDS, open_session, select
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.tokenizer import Tokenizer

if TYPE_CHECKING:
    from edgecap.runtime.backends.torch import TorchSession

DEVICES = ("cpu", "cuda")


def load(
    bundle: str | os.PathLike[str], backend: str = "auto", threads: int = 1, device: str = "cpu"
) -> Captioner:
    """Open a captioner.

    Args:
        bundle: a bundle directory; or, for the torch reference, a shipped model's name ("S") or a
            .safetensors file.
        backend: "auto" takes the one that runs what was given; or onnx, tflite, coreml (macOS),
            mlprogram (CoreML evaluated anywhere), torch.
        threads: CPU threads of the engine.
        device: cpu, or cuda for the torch reference on a GPU.

    Raises:
        BundleError for a bundle that cannot be trusted or run, InputError for an unknown name,
        UnsupportedError for a backend that cannot run it, MissingPackageError.
    """
    pick("backend", backend, ("auto", *BACKENDS, "torch"))
    pick("device", device, DEVICES)
    if not 1 <= threads <= MOST_THREADS:
        raise InputError("threads.number", f"threads must be 1 to {MOST_THREADS}, got {threads}.")
    if not str(bundle):
        raise InputError("bundle.missing", "an empty name is no bundle and no model.")
    given = Path(bundle)
    is_weights = given.suffix == SUFFIX or (not given.exists() and called(str(bundle)) in shipped())
    if backend == "torch" or (backend == "auto" and is_weights):
        return load_reference(str(bundle), threads, device)
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
    opened = open_bundle(given)
    tokenizer_file = opened.manifest.tokenizer.file
    tokenizer = Tokenizer(opened.file(tokenizer_file).read_bytes(), tokenizer_file)
    session = open_session(opened, backend, threads)
    runs_on = select(opened.manifest.format, backend)
    return Captioner(session, opened.manifest, tokenizer, runs_on, weights=_weights(opened))


def load_reference(model: str, threads: int = 1, device: str = "cpu") -> Captioner:
    """The PyTorch model of a shipped name or a .safetensors file, with its tokenizer."""
    if Path(model).is_dir():
        raise UnsupportedError(
            "backend.format",
            f"{model} is a bundle; the torch backend runs weights.",
            "Leave the backend out, or give the name of a model, such as S.",
        )
    from edgecap.runtime.backends.torch import open_weights

    name, path, session, extension = open_weights(model, threads, device)
    weights = file_sha256(path)
    return reference(session, extension, name, model, weights)


def reference(
    session: TorchSession,
    extension: Extension = SHIPPED,
    name: str = "",
    model: str = "",
    weights: str | None = None,
) -> Captioner:
    """A network in memory behind the runtime's interface; `weights`: SHA-256 of its file."""
    functions = {function: same_names(name, function) for function in (*FUNCTIONS, ATTENTION)}
    manifest = draft(
        session.network.config,
        name=name,
        model=model,
        format="torch",
        precision="fp32",
        functions=functions,
        languages=extension.languages,
    )
    tokenizer = Tokenizer(tokenizer_data(extension), TOKENIZER)
    return Captioner(
        session, manifest, tokenizer, "torch", session.free_bytes, session.most, weights
    )


def _weights(opened: Bundle) -> str | None:
    """Which weights file a bundle was made from; of older bundles only a plan says it."""
    if opened.manifest.weights is not None:
        return opened.manifest.weights
    name = opened.manifest.plan.get("file")
    if not isinstance(name, str) or name not in opened.manifest.files:
        return None
    plan = opened.json(name)
    told = plan.get("weights") if isinstance(plan, dict) else None
    return told if isinstance(told, str) and re.fullmatch(r"[0-9a-f]{64}", told) else None


def tokenizer_data(extension: Extension = SHIPPED) -> bytes:
    """The tokenizer.json that came with the package, with what `extension` adds."""
    return extension.tokenizer((resources.files("edgecap") / "data" / TOKENIZER).read_bytes())


def shipped_tokenizer() -> Tokenizer:
    """The tokenizer that came with the package."""
    return Tokenizer(tokenizer_data(), TOKENIZER)
