"""Loads a bundle and opens it on an inference engine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import TypeVar

from edgecap.bundle.io import Bundle, open_bundle
from edgecap.bundle.manifest import Manifest
from edgecap.core import hub
from edgecap.core.cores import MOST_THREADS
from edgecap.core.errors import InputError
from edgecap.runtime.backends import check_backend, open_functions, select
from edgecap.runtime.backends.single import FunctionSession
from edgecap.runtime.batches import BATCH
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.confidence import Minimum, calibration_of
from edgecap.runtime.graphs import Graphs
from edgecap.runtime.memory import free_bytes
from edgecap.runtime.text import TextCodec
from edgecap.runtime.text.from_tokenizer import codec_of
from edgecap.runtime.text.prompts import PromptEncoder
from edgecap.runtime.tokenizer import Tokenizer

Read = TypeVar("Read")


def load(
    bundle: str | os.PathLike[str],
    backend: str = "auto",
    threads: int = 1,
    verify: str = "sizes",
    min_confidence: Minimum = None,
) -> Captioner:
    """Open the captioner in a bundle.

    Args:
        bundle: a bundle directory; a packed bundle (.edgecap), which is not unpacked; or the hub
            id of one in the local cache: org/name@revision.
        backend: "auto" selects one for the bundle's format; or onnx, tflite, coreml (macOS),
            mlprogram (CoreML evaluated on any system).
        threads: CPU threads: the engine's for one image; several images are captioned side by
            side, each on one thread.
        verify: "sizes" or "full", as of `edgecap.bundle.io.open_bundle`.
        min_confidence: captions of a lower confidence are declined: 0 … 1, or "auto" for the
            limit that the bundle's calibration recommends. By default none is declined, and a style
            that needs a second caption of the image (SPEC.md, Confidence) has no confidence.

    Raises:
        BundleError for an invalid bundle, InputError for an unknown backend or an empty path,
        UnsupportedError for a backend that cannot run the bundle, MissingPackageError.
    """
    check_backend(backend)
    check_threads(threads)
    if not str(bundle):
        raise InputError("bundle.missing", "a bundle needs a name, and it is empty.")
    opened = open_bundle(hub.resolve(bundle), verify)
    captioner = _captioner(opened, backend, threads)
    captioner.set_confidence(calibration_of(opened), min_confidence, os.fspath(bundle))
    return captioner


def as_schema2(opened: Bundle) -> Bundle:
    """The same bundle with its manifest in the terms of schema 2; BundleError (tokenizer.*)."""
    manifest = opened.manifest
    if isinstance(manifest, Manifest):
        return opened
    from edgecap.bundle.upgrade import upgraded  # seldom needed, and a start is short

    tokenizer = _read(Tokenizer, opened, manifest.tokenizer.file)
    known = replace(manifest, weights=_weights(opened))
    return replace(opened, manifest=upgraded(known, tokenizer.id_of, len(tokenizer)))


def _captioner(opened: Bundle, backend: str, threads: int) -> Captioner:
    opened = as_schema2(opened)
    manifest: Manifest = opened.manifest
    graphs = Graphs(open_functions(opened, backend, threads), manifest.interface)
    tokenizer = codec = encoder = None
    if manifest.encoder is not None:
        encoder = cache(partial(_read, PromptEncoder, opened, manifest.encoder))
        if manifest.languages:
            tokenizer = cache(partial(_read, Tokenizer, opened, manifest.encoder))
    if tokenizer is not None and manifest.tokenizer == manifest.encoder:  # of schema 1
        codec = codec_of(tokenizer())
    elif manifest.tokenizer is not None:
        data = opened.content(manifest.tokenizer).read_bytes()
        codec = TextCodec.from_bytes(data, manifest.tokenizer)
    selected = select(manifest.format, backend)
    return Captioner(graphs, manifest, codec, selected, encoder=encoder, tokenizer=tokenizer)


def _read(kind: Callable[[bytes, str], Read], opened: Bundle, name: str) -> Read:
    return kind(opened.content(name).read_bytes(), name)


def captioner_of(
    session: FunctionSession,
    manifest: Manifest,
    tokenizer: Tokenizer,
    backend: str,
    free: Callable[[], int] = free_bytes,
    most: int = BATCH,
) -> Captioner:
    """A captioner with languages on a session; `free` and `most` as of `Captioner`."""
    graphs, codec = Graphs(session, manifest.interface), codec_of(tokenizer)
    return Captioner(
        graphs, manifest, codec, backend, tokenizer=lambda: tokenizer, free=free, most=most
    )


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
