"""The processes of a run: this one, or those of torchrun, identified by environment variables.

Each trains on its own scenes; gradients are averaged, so weights stay equal.
"""

from __future__ import annotations

import os

import torch
from torch import distributed, nn

from edgecap.core.cores import usable_cores


def rank() -> int:
    """The number of this process; 0 writes the files."""
    return int(os.environ.get("RANK", 0))


def world() -> int:
    """The number of processes."""
    return int(os.environ.get("WORLD_SIZE", 1))


def device() -> torch.device:
    """The GPU of this process, by its number on its machine, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def drawing() -> int:
    """Number of worker processes that draw scenes: a GPU trains faster than many cores draw."""
    if device().type == "cpu":
        return 1
    return max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1)


def joined(module: nn.Module) -> nn.Module:
    """The module, with gradients averaged over processes where there are several."""
    if world() == 1:
        return module
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return nn.parallel.DistributedDataParallel(module)


def most(number: int) -> int:
    """The largest `number` of all processes: unequal numbers of backward passes would deadlock."""
    if world() == 1:
        return number
    value = torch.tensor(number, device=device())
    distributed.all_reduce(value, distributed.ReduceOp.MAX)
    return int(value)


def leave() -> None:
    """Leave the process group that `joined` created, if any."""
    if distributed.is_initialized():
        distributed.destroy_process_group()
