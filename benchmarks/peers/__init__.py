"""Other engines and runtimes, measured beside edgecap's: `edgecap bench --peers`.

A peer runs the same host code (images, token grammar, tokenizer) on another engine, in a process of
its own, and sends the same messages to the bench. Each has one file here. `make peers` builds the
environments of those that cannot live in the common one; a peer that cannot run is left out and
its reason is reported. The C core is a peer too, see `c_core`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from edgecap.benchmarks.process import Target
from edgecap.bundle.cached import FAMILY
from edgecap.bundle.io import Bundle
from edgecap.runtime.loading import as_schema2

_CHECKOUT = Path(__file__).resolve().parents[2]  # where `make peers` builds, wherever bench runs
ENVIRONMENTS = Path(os.environ.get("EDGECAP_PEERS", _CHECKOUT / ".venv-peers"))


@dataclass(frozen=True)
class Peer:
    """One engine.

    Attributes:
        name: as in tables.
        module: of its worker, run as `python -m`.
        format: of the bundles it runs; None: the weights, in PyTorch.
        environment: folder in `ENVIRONMENTS`; None: this environment.
        needs: packages of this environment.
    """

    name: str
    module: str
    format: str | None
    environment: str | None = None
    needs: tuple[str, ...] = ()


PEERS = (
    Peer("torch.compile", "compiled", None, needs=("torch",)),
    Peer("ONNX, whole cache returned", "naive_onnx", "onnx", needs=("onnx", "onnxruntime")),
    Peer("OpenVINO", "openvino_engine", "onnx", "openvino"),
    Peer("ExecuTorch XNNPACK", "executorch_engine", None, "executorch"),
    Peer("tflite-runtime 2.14", "tflite_runtime", "tflite", "tflite-runtime"),
)  # fmt: skip


def targets(
    opened: Sequence[Bundle], weights: str | None, images: Sequence[Path], threads: int
) -> tuple[list[Target], dict[str, str]]:
    """The peers that can run, one target for each bundle, and the others with the reason."""
    found: list[Target] = []
    left_out: dict[str, str] = {}
    for peer in PEERS:
        reason = _missing(peer)
        sources, why = _sources(peer, opened, weights)
        if reason or not sources:
            left_out[peer.name] = reason or why
            continue
        for name, source in sources:
            job = {"source": source, "threads": threads, "images": [str(one) for one in images]}
            module = f"edgecap.benchmarks.peers.{peer.module}"
            command = (_python(peer), "-P", "-m", module, json.dumps(job))
            found.append(Target(f"{name}, {peer.name}", command, peer=True))
    return found, left_out


def _python(peer: Peer) -> str:
    if peer.environment is None:
        return sys.executable
    return str(ENVIRONMENTS.absolute() / peer.environment / "bin" / "python")


def _missing(peer: Peer) -> str:
    """Why the peer cannot start here; empty where it can."""
    if peer.environment is not None and not Path(_python(peer)).exists():
        place = ENVIRONMENTS / peer.environment
        return f"{place} is not there; make peers in the checkout builds it"
    absent = [name for name in peer.needs if find_spec(name) is None]
    return f"{', '.join(absent)} is not installed" if absent else ""


def _sources(
    peer: Peer, opened: Sequence[Bundle], weights: str | None
) -> tuple[list[tuple[str, str]], str]:
    """(name, what to load) of everything the peer runs; where it is nothing, why."""
    from edgecap.benchmarks.targets import find_weights

    if peer.format is not None:
        fitting = [one for one in opened if one.manifest.format == peer.format]
        named = [(one.path.resolve().name, str(one.path)) for one in fitting]
        return named, f"none of the bundles is {peer.format}"
    first = as_schema2(opened[0]).manifest.model
    if first.family != FAMILY:
        return [], "it is built for the reference model"
    model = weights or first.source
    if find_weights(model) is None:
        return [], f"the weights of {model} are not here"
    return [(Path(model).stem, model)], ""
