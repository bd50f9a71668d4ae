"""Where an engine runs out of memory the batch is halved, whatever the engine calls it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_formats import write
from tiny_onnx import image

from edgecap.core.errors import BundleError
from edgecap.mil.ops import KERNELS
from edgecap.mil.schedule import Step
from edgecap.models.loading import load
from edgecap.runtime import Captioner

IMAGES = [image(seed, 50, 40) for seed in range(2)]
BACKENDS = {"onnx": "onnx", "tflite": "tflite", "mlprogram": "coreml", "torch": "torch"}


class Output:
    """What torch gives, and the host has no room for."""

    def float(self) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")


def once(call: Callable[..., Any], *, fail: Callable[[], Any]) -> Callable[..., Any]:
    """The call, but that the first one fails."""
    failed: list[bool] = []

    def work(*args: Any, **options: Any) -> Any:
        if not failed:
            failed.append(True)
            return fail()
        return call(*args, **options)

    return work


def refuse() -> Any:
    raise RuntimeError("std::bad_alloc")


def exhausted() -> Any:
    raise MemoryError("Unable to allocate 9 bytes")  # as NumPy says it


def starve(patch: pytest.MonkeyPatch, backend: str, captioner: Captioner) -> None:
    """Let the next step of the engine itself fail."""
    session: Any = captioner.graphs.session
    if backend == "onnx":
        graph = session.graph("decode")
        engine = graph._session
        run = once(engine.run_with_iobinding, fail=refuse)
        fake = SimpleNamespace(io_binding=engine.io_binding, run_with_iobinding=run)
        patch.setattr(graph, "_session", fake)
    elif backend == "tflite":
        runner = session._runners["decode"]
        engine = runner._engine
        invoke = once(engine.Invoke, fail=refuse)
        names = ("AllocateTensors", "tensor", "SetTensor", "GetTensor")
        kept = {name: getattr(engine, name) for name in names}
        patch.setattr(runner, "_engine", SimpleNamespace(Invoke=invoke, **kept))
    elif backend == "torch":
        network = session.network
        patch.setattr(network, "decode", once(network.decode, fail=lambda: (Output(),)))
    else:
        patch.setattr(Step, "values", once(Step.values, fail=exhausted))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_batch_is_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    captioner = load(write(BACKENDS[backend], tmp_path), backend=backend)
    expected = captioner.caption(IMAGES, max_length=3)
    sizes: list[int] = []
    batch = captioner._caption_batch
    monkeypatch.setattr(
        captioner,
        "_caption_batch",
        lambda graphs, request, images: sizes.append(len(images)) or batch(graphs, request, images),
    )
    starve(monkeypatch, backend, captioner)
    said = captioner.caption(IMAGES, max_length=3)
    assert sizes == [2 if captioner.graphs.batch is None else 1, 1, 1]
    assert [one.tokens for one in said] == [one.tokens for one in expected]


def test_a_file_whose_constants_do_not_fit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No smaller batch helps: it is the file that asks for them."""
    path = write("coreml", tmp_path)
    starved = {n: replace(k, compute=lambda **_: exhausted()) for n, k in KERNELS.items()}
    for name, kernel in starved.items():
        monkeypatch.setitem(KERNELS, name, kernel)
    with pytest.raises(BundleError, match=r"bundle\.model.*does not fit in memory"):
        load(path, backend="mlprogram")
