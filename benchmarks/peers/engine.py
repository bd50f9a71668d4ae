"""What the workers of peers share: another engine for a bundle, other functions for the model."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgecap.benchmarks.worker import own_output, serve
from edgecap.bundle.io import Bundle
from edgecap.core.formats import Backend, use_backend
from edgecap.runtime.backends.single import Arrays, FunctionSession

Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]

Prepare = Callable[[Any, dict[str, Any]], None]


class EngineSession(FunctionSession):
    """A bundle whose functions are opened by `open_function(bundle, name, threads)`."""

    def __init__(
        self, bundle: Bundle, threads: int, open_function: Callable[[Bundle, str, int], Run]
    ) -> None:
        self.batch = bundle.manifest.batch
        self._open = lambda name: open_function(bundle, name, threads)
        self._functions: dict[str, Run] = {}

    def run(self, name: str, inputs: Arrays) -> Arrays:
        if name not in self._functions:
            self._functions[name] = self._open(name)
        return self._functions[name](inputs)


def one_at_a_time(call: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the model that is called for each image alone: programs of fixed shapes.

    Inputs and outputs have the image on their first axis, k and v [L,B,H,C,Dh] on their second.
    """

    def each(self: Any, *inputs: Any) -> Any:
        import torch

        def axis(value: Any) -> int:
            return 1 if value.dim() == 5 else 0

        count = inputs[0].shape[0]
        parts = [
            call(self, *(value.narrow(axis(value), b, 1).contiguous() for value in inputs))
            for b in range(count)
        ]
        if count == 1:
            return tuple(parts[0])
        return tuple(torch.cat(values, axis(values[0])) for values in zip(*parts, strict=True))

    return each


def serve_bundle(format_: str, backend: str, session: str, argument: str) -> int:
    """The worker's loop over a bundle on `session`, "module:function" of (bundle, threads)."""
    use_backend(format_, Backend(backend, session, ()))
    return _serve(argument, backend)


def serve_model(
    backend: str, prepare: Callable[[type, dict[str, Any]], None], argument: str
) -> int:
    """The worker's loop over the reference in PyTorch, after `prepare(its class, the job)`."""
    from edgecap.reference.model.captioner import CaptionModel

    prepare(CaptionModel, json.loads(argument))
    return _serve(argument, "torch", backend)


def _serve(argument: str, backend: str, shown: str | None = None) -> int:
    answers = own_output()
    job = json.loads(argument)

    def load() -> Any:
        from edgecap.models.loading import load

        return load(job["source"], backend=backend, threads=job["threads"])

    about = {"backend": shown} if shown else {}
    return serve(load, job["images"], sys.stdin, answers, lambda: about)
