"""PyTorch with torch.compile; its first captions compile, so its cold start is long."""

from __future__ import annotations

import sys
from typing import Any

from edgecap.benchmarks.peers.engine import serve_model


def prepare(model: Any, job: dict[str, Any]) -> None:
    """Compile the two functions of a caption."""
    import torch

    torch.set_num_threads(job["threads"])
    model.encode_image = torch.compile(model.encode_image)
    model.decode = torch.compile(model.decode)


if __name__ == "__main__":
    sys.exit(serve_model("torch.compile", prepare, sys.argv[1]))
