"""Several processes train as one: on scenes of their own, to the same weights, with one writer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edgecap.reference.train import processes

RUN = """
import sys
from pathlib import Path
import torch
from edgecap.reference.config import SIZES, CaptionerConfig
from edgecap.reference.train import log, loop
from edgecap.reference.train.config import Stage, TrainConfig
from safetensors.torch import save_file

torch.set_num_threads(1)
log.EVERY = 1
SIZES["tiny"] = CaptionerConfig(width=32, layers=1, heads=2, embedding=16)
stage = Stage(112, 12, 4, 40, 2, 32, ("en",))
config = TrainConfig(size="tiny", stages=(stage,), warmup_steps=1, mean_steps=0)
if __name__ == "__main__":
    trained = loop.train(config, Path(sys.argv[1]), compile_=False)
    save_file(trained.state_dict(), sys.argv[2])
"""


def start(
    script: Path, run: Path, file: Path, rank: int, world: int, port: int
) -> subprocess.Popen[bytes]:
    env = os.environ | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    return subprocess.Popen([sys.executable, str(script), str(run), str(file)], env=env)


def trained(folder: Path, world: int) -> list[dict[str, torch.Tensor]]:
    folder.mkdir()
    script = folder / "run.py"
    script.write_text(RUN, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files = [folder / f"{rank}.safetensors" for rank in range(world)]
    jobs = [start(script, folder / "run", f, rank, world, port) for rank, f in enumerate(files)]
    assert [job.wait(timeout=240) for job in jobs] == [0] * world
    return [load_file(file) for file in files]


def test_a_gpu_has_scenes_drawn_by_all_cores_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(processes, "device", lambda: torch.device("cpu"))
    assert processes.drawing() == 1  # the other cores learn
    monkeypatch.setattr(processes, "device", lambda: torch.device("cuda", 0))
    assert processes.drawing() == 15
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert processes.drawing() == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "64")
    assert processes.drawing() == 1


@pytest.mark.full
def test_two_processes_end_with_the_same_weights_and_not_those_of_one(tmp_path: Path) -> None:
    first, second = trained(tmp_path / "two", 2)
    (alone,) = trained(tmp_path / "one", 1)
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, atol=0, rtol=0)
    assert not torch.equal(first["token.weight"], alone["token.weight"])
    rows = (tmp_path / "two" / "run" / "log.jsonl").read_text().splitlines()
    assert len(rows) == 3  # one process writes
