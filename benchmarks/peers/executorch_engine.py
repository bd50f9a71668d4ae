"""ExecuTorch with its XNNPACK backend: the reference lowered here, in fp32, one image at a time."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from edgecap.benchmarks.peers.engine import one_at_a_time, serve_model

FUNCTIONS = ("encode_image", "decode")


def prepare(model: Any, job: dict[str, Any]) -> None:
    """Let the two functions of a caption run as ExecuTorch programs."""
    import torch
    from executorch.extension.pybindings import portable_lib

    portable_lib._unsafe_reset_threadpool(job["threads"])
    torch.set_num_threads(job["threads"])
    folder = tempfile.TemporaryDirectory(prefix="edgecap-executorch-")
    eager = {name: getattr(model, name) for name in FUNCTIONS}
    programs: dict[str, Any] = {}

    def replaced(name: str) -> Any:
        def call(self: Any, *inputs: Any) -> Any:
            if name not in programs:
                place = Path(folder.name) / f"{name}.pte"
                place.write_bytes(_lowered(self, eager[name], inputs))
                programs[name] = _method(place)
            return programs[name].execute(list(inputs))

        return one_at_a_time(call)

    for name in FUNCTIONS:
        setattr(model, name, replaced(name))


def _lowered(network: Any, function: Any, inputs: Any) -> bytes:
    """The program of one function."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    class One(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *given: torch.Tensor) -> Any:
            return function(self.network, *given)

    with torch.no_grad():
        exported = torch.export.export(One().eval(), tuple(value.clone() for value in inputs))
        lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
        return bytes(lowered.to_executorch().buffer)


def _method(place: Path) -> Any:
    from executorch.runtime import Runtime

    return Runtime.get().load_program(place).load_method("forward")


if __name__ == "__main__":
    sys.exit(serve_model("executorch xnnpack", prepare, sys.argv[1]))
