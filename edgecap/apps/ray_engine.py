"""Captions and embeddings of many images on a Ray cluster, through Ray Data.

Every worker is an actor that holds the bundle and takes batches. Rows come back in the order of the
images; where a worker dies, Ray starts another and gives it the batches that are not done, so that
each image gives one row. The bundle and the images must lie at the same paths on every node.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgecap.core.errors import EdgecapError, InputError, UnsupportedError
from edgecap.core.lazy import require
from edgecap.runtime.batches import BATCH
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.captions import Caption
from edgecap.runtime.confidence import Minimum
from edgecap.runtime.loading import load

PACKAGE = ("ray.data", "ray")  # module, and the extra of edgecap that installs it
_IMAGE, _ROW = "image", "row"  # columns of a block
Path_ = str | os.PathLike[str]


def captions(
    images: Sequence[Path_],
    bundle: Path_,
    *,
    workers: int = 2,
    threads: int = 1,
    batch: int = BATCH,
    min_confidence: Minimum = None,
    **options: Any,
) -> Iterator[dict[str, Any]]:
    """Yield a row for every image, in order: `image`, and the fields of a Caption or `error`.

    Args:
        images: paths of image files, the same on every node.
        bundle: a bundle directory, the same on every node.
        workers: actors; each loads the bundle once.
        threads: CPU threads of each actor's engine.
        batch: images that an actor takes at once.
        min_confidence: as of `edgecap.runtime.load`.
        options: as of the captioner's `caption_many`: lang, style, prompt, beams …

    Raises:
        MissingPackageError without Ray; InputError, BundleError and UnsupportedError before any
        work for what `load` and `caption_many` refuse.
    """
    _check(workers, batch)
    data = require(*PACKAGE)
    captioner = load(bundle, threads=threads, min_confidence=min_confidence)
    captioner.caption_many([], **options)  # checks the options
    del captioner
    settings = (os.fspath(Path(bundle).resolve()), threads, min_confidence, options)
    return _rows(data, images, _Captions, settings, workers, threads, batch)


def embeddings(
    images: Sequence[Path_],
    bundle: Path_,
    *,
    workers: int = 2,
    threads: int = 1,
    batch: int = BATCH,
    whole: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield a row for every image, in order: `image`, `things` and `vectors`, or `error`.

    `things` are the boxes, in px of the image, of each object that the caption names; `vectors`
    f32 [1 + things, E] of the whole image and of each object alone. `whole`: the image only.
    Arguments and errors as of `captions`.
    """
    _check(workers, batch)
    data = require(*PACKAGE)
    _with_views(bundle, threads)
    settings = (os.fspath(Path(bundle).resolve()), threads, whole)
    rows = _rows(data, images, _Embeddings, settings, workers, threads, batch)
    return (_with_vectors(row) for row in rows)


class _Captions:
    """An actor that captions."""

    def __init__(
        self, bundle: str, threads: int, minimum: Minimum, options: dict[str, Any]
    ) -> None:
        self._captioner = load(bundle, threads=threads, min_confidence=minimum)
        self._options = options

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, Any]:
        names = [str(name) for name in block[_IMAGE]]
        found = self._captioner.caption_many(
            [Path(name) for name in names], **self._options, on_error="skip"
        )
        rows = [
            {_IMAGE: name, **(asdict(one) if isinstance(one, Caption) else _error(one))}
            for name, one in zip(names, found, strict=True)
        ]
        return {_ROW: [json.dumps(row) for row in rows]}


class _Embeddings:
    """An actor that embeds images and the things in them."""

    def __init__(self, bundle: str, threads: int, whole: bool) -> None:
        self._captioner, self._whole = _with_views(bundle, threads), whole

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, Any]:
        from edgecap.apps.grounding.views import embedded_views

        names = [str(name) for name in block[_IMAGE]]
        prepared = list(self._captioner.preprocess_images([Path(name) for name in names]))
        good = [one for one in prepared if not isinstance(one, InputError)]
        inputs = [image.pixels[0] for image in good]
        views = iter(embedded_views(self._captioner, inputs, self._whole) if inputs else [])
        rows: list[dict[str, Any]] = []
        for name, one in zip(names, prepared, strict=True):
            if isinstance(one, InputError):
                rows.append({_IMAGE: name, **_error(one)})
                continue
            parts, vectors = next(views)
            things = [[one.placement.to_image(box) for box in view.boxes] for view in parts[1:]]
            rows.append({_IMAGE: name, "things": things, "vectors": vectors.tolist()})
        return {_ROW: [json.dumps(row) for row in rows]}


def _with_views(bundle: Path_, threads: int) -> Captioner:
    """A captioner that embeds images and the things in them; UnsupportedError for another."""
    captioner = load(bundle, threads=threads)
    if not isinstance(captioner, Captioner):
        raise UnsupportedError(
            "model.prompts", f"this needs a model with languages and boxes; {bundle} has prompts."
        )
    return captioner


def _rows(
    data: Any,
    images: Sequence[Path_],
    actor: type,
    settings: tuple[Any, ...],
    workers: int,
    threads: int,
    batch: int,
) -> Iterator[dict[str, Any]]:
    if not images:
        return
    with _errors():
        _start()
        context = data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        items = [{_IMAGE: os.fspath(image)} for image in images]
        blocks = -(-len(items) // batch)
        found = data.from_items(items, override_num_blocks=blocks).map_batches(
            actor,
            fn_constructor_args=settings,
            batch_size=batch,
            compute=data.ActorPoolStrategy(size=workers),
            num_cpus=threads,
        )
        for row in found.iter_rows():
            yield json.loads(row[_ROW])


def _start() -> None:
    """Join the cluster of RAY_ADDRESS, or start one on this machine; keep one that is there."""
    ray = require("ray", PACKAGE[1])
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)


@contextmanager
def _errors() -> Iterator[None]:
    """What edgecap refused in an actor is raised as it was; what failed in Ray, in one line."""
    ray = require("ray", PACKAGE[1])
    try:
        yield
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, EdgecapError):
            raise cause from None
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UnsupportedError(
            "ray.failed",
            f"the Ray cluster gave up: {lines[-1]}",
            "What is done is kept; go on with --resume.",
        ) from error


def _error(error: Caption | InputError) -> dict[str, Any]:
    assert isinstance(error, InputError)
    return {"error": {"code": error.code, "text": error.message}}


def _with_vectors(row: dict[str, Any]) -> dict[str, Any]:
    return row if "error" in row else {**row, "vectors": np.array(row["vectors"], np.float32)}


def _check(workers: int, batch: int) -> None:
    if workers < 1 or batch < 1:
        raise InputError(
            "ray.number", f"workers and batch must be at least 1, got {workers} and {batch}."
        )
