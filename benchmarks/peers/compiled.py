"""PyTorch with torch.compile, for one image at a time; it compiles at its first caption."""

from __future__ import annotations

import sys
from typing import Any

from edgecap.benchmarks.peers.engine import one_at_a_time, serve_model


def prepare(model: Any, job: dict[str, Any]) -> None:
    """Compile the two functions of a caption."""
    import torch

    torch.set_num_threads(job["threads"])
    for name in ("encode_image", "decode"):
        setattr(model, name, one_at_a_time(torch.compile(getattr(model, name), dynamic=False)))


if __name__ == "__main__":
    sys.exit(serve_model("torch.compile", prepare, sys.argv[1]))
