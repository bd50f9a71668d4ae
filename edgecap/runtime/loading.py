"""Loads a bundle and opens it on an inference engine."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TypeAlias

from edgecap.bundle import schema2
from edgecap.bundle.io import Bundle, open_bundle
from edgecap.core import hub
from edgecap.core.choices import pick
from edgecap.core.cores import MOST_THREADS
from edgecap.core.errors import InputError
from edgecap.core.formats import backends
from edgecap.runtime.backends import open_functions, open_session, select
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.confidence import Minimum, calibration_of
from edgecap.runtime.graphs import Graphs
from edgecap.runtime.prompt_captioner import PromptCaptioner
from edgecap.runtime.text import TextCodec
from edgecap.runtime.text.prompts import PromptEncoder
from edgecap.runtime.tokenizer import Tokenizer

AnyCaptioner: TypeAlias = Captioner | PromptCaptioner


def load(
    bundle: str | os.PathLike[str],
    backend: str = "auto",
    threads: int = 1,
    verify: str = "sizes",
    min_confidence: Minimum = None,
) -> AnyCaptioner:
    """Open the captioner in a bundle.

    Args:
        bundle: a bundle directory; a packed bundle (.edgecap), which is not unpacked; or the hub
            id of one in the local cache: org/name@revision.
        backend: "auto" selects one for the bundle's format; or onnx, tflite, coreml (macOS),
            mlprogram (CoreML evaluated on any system).
        threads: CPU threads of the engine.
        verify: "sizes" or "full", as of `edgecap.bundle.io.open_bundle`.
        min_confidence: captions of a lower confidence are declined: 0 … 1, or "auto" for the
            limit that the bundle's calibration recommends. By default none is declined.

    Raises:
        BundleError for an invalid bundle, InputError for an unknown backend or an empty path,
        UnsupportedError for a backend that cannot run the bundle, MissingPackageError.
    """
    pick("backend", backend, ("auto", *backends()))
    check_threads(threads)
    if not str(bundle):
        raise InputError("bundle.missing", "an empty name is no bundle.")
    opened = open_bundle(hub.resolve(bundle), verify)
    captioner = _captioner(opened, backend, threads)
    captioner.set_confidence(calibration_of(opened), min_confidence)
    return captioner


def _captioner(opened: Bundle, backend: str, threads: int) -> AnyCaptioner:
    if isinstance(opened.manifest, schema2.Manifest):
        return _prompted(opened, opened.manifest, backend, threads)
    tokenizer_file = opened.manifest.tokenizer.file
    tokenizer = Tokenizer(opened.content(tokenizer_file).read_bytes(), tokenizer_file)
    session = open_session(opened, backend, threads)
    selected = select(opened.manifest.format, backend)
    return Captioner(session, opened.manifest, tokenizer, selected, weights=_weights(opened))


def _prompted(
    opened: Bundle, manifest: schema2.Manifest, backend: str, threads: int
) -> PromptCaptioner:
    """A schema 2 captioner or embedder."""
    codec, encoder = None, None
    if manifest.tokenizer is not None:
        data = opened.content(manifest.tokenizer).read_bytes()
        codec = TextCodec.from_bytes(data, manifest.tokenizer)
    if manifest.encoder is not None:
        file = opened.content(manifest.encoder)
        encoder = cache(lambda: PromptEncoder(file.read_bytes(), file.name))
    graphs = Graphs(open_functions(opened, backend, threads), manifest.interface)
    selected = select(manifest.format, backend)
    return PromptCaptioner(graphs, manifest, codec, selected, encoder)


def check_threads(threads: int) -> None:
    """Raise InputError for an invalid number of threads."""
    if not 1 <= threads <= MOST_THREADS:
        raise InputError("threads.number", f"threads must be 1 to {MOST_THREADS}, got {threads}.")


def _weights(opened: Bundle) -> str | None:
    """SHA-256 of the weights file a bundle was made from; in older bundles only the plan has it."""
    if opened.manifest.weights is not None:
        return opened.manifest.weights
    name = opened.manifest.plan.get("file")
    if not isinstance(name, str) or name not in opened.manifest.files:
        return None
    plan = opened.json(name)
    digest = plan.get("weights") if isinstance(plan, dict) else None
    return digest if isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest) else None
