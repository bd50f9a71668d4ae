"""How often a rounded captioner chooses the next token that the float one chooses.

    python -m edgecap.quant.agreement S [PLAN | --observer minmax] [--scenes 64]

Both are fed the float model's own greedy captions (teacher forcing), so one early difference does
not count for all the words after it.

Letters: M steps of all captions, V vocabulary, E embedding.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecap.core.command import check_numbers, guarded
from edgecap.core.errors import InputError
from edgecap.core.lazy import require
from edgecap.quant.samples import OBSERVER_NAMES, CalibrationSpec

if TYPE_CHECKING:
    from edgecap.model.captioner import Captioner
    from edgecap.quant.exercise import Exercise, Replayed

TIE = 0.5  # nats: a token that the float model scores this close to its best is as good


@dataclass(frozen=True)
class Agreement:
    """Over all steps of an exercise."""

    steps: int  # M
    top1: float  # 0-1, steps whose best token is the same
    as_good: float  # 0-1, steps whose best token the float model scores within TIE of its own
    divergence: float  # nats, mean KL(float || rounded)
    cosine: float  # smallest, of an embedding with that of the float model


def compare(wanted: Captioner, got: Captioner, exercise: Exercise) -> Agreement:
    """Agreement of `got` with `wanted` on an exercise."""
    return agree(
        zip(exercise.replay(wanted, "float"), exercise.replay(got, "rounded"), strict=True)
    )


def agree(pairs: Iterable[tuple[Replayed, Replayed]]) -> Agreement:
    """The same from what a float and a rounded model said, batch by batch."""
    import torch.nn.functional as F

    same = near = steps = 0
    divergence, cosine = 0.0, 1.0
    for (a, embedding), (b, rounded) in pairs:  # [m,V], [b,E]
        best, choice = a.max(-1), b.argmax(-1)  # [m]
        same += int((choice == best.indices).sum())
        near += int((best.values - a.gather(1, choice[:, None])[:, 0] <= TIE).sum())
        log_a, log_b = a.log_softmax(-1), b.log_softmax(-1)  # [m,V]
        divergence += float(F.kl_div(log_b, log_a, log_target=True, reduction="sum"))
        cosine = min(cosine, float(F.cosine_similarity(embedding, rounded).min()))
        steps += len(a)
    return Agreement(steps, same / steps, near / steps, divergence / steps, cosine)


def main(arguments: list[str] | None = None) -> int:
    """Print the agreement of a simulated plan, made now unless a file is given."""
    parser = ArgumentParser(prog="python -m edgecap.quant.agreement")
    parser.add_argument("model")
    parser.add_argument("plan", nargs="?", type=Path)
    parser.add_argument("--scenes", type=int, default=64)
    parser.add_argument("--observer", help="without a PLAN: " + ", ".join(OBSERVER_NAMES))
    asked = parser.parse_args(arguments)
    return guarded("agreement", lambda: _run(asked))


def _run(asked: Namespace) -> None:
    torch = require("torch", "torch")
    from edgecap.model import weights
    from edgecap.quant.calibrate import calibrate
    from edgecap.quant.exercise import record
    from edgecap.quant.plan import check_weights, fingerprint, read_plan
    from edgecap.quant.simulate import simulate
    from edgecap.runtime.backends.torch import TorchSession
    from edgecap.runtime.loading import reference
    from edgecap.scenes.shipped import SETS, load_set

    check_numbers(asked, "agreement", scenes=1)
    there = SETS["evaluation"][1]
    if asked.scenes > there:
        raise InputError("agreement.scenes", f"--scenes is {asked.scenes}; there are {there}.")
    if asked.plan is not None and asked.observer is not None:
        raise InputError(
            "agreement.observer",
            f"{asked.plan} has its grids already, and --observer makes new ones.",
            "Give one.",
        )
    spec = CalibrationSpec()
    if asked.observer is not None:
        spec = CalibrationSpec(observer=asked.observer)
    spec.check()
    name, path = weights.resolve(asked.model)
    if asked.plan is not None:
        plan = read_plan(asked.plan)
        check_weights(plan, name, path)
    torch.set_num_threads(1)
    network = weights.load(path)
    captioner = reference(TorchSession(network), weights.extension(path))
    if asked.plan is None:
        plan = calibrate(
            network,
            record(captioner, spec.canvases(network.config.image_size)),
            spec,
            model=name,
            weights=fingerprint(path),
            precision="w8a8",
        )
    scenes = np.stack([pixels for pixels, _ in load_set("evaluation", asked.scenes)])
    print(compare(network, simulate(network, plan), record(captioner, scenes)))


if __name__ == "__main__":
    sys.exit(main())
