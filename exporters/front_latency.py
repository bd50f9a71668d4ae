"""How long a caption takes under each plan of a search, on this machine's engine of one format.

The plans take turns, so that a slow minute falls on all, and processor time is taken, in which
other work counts less. A caption is one encode_image and CAPTION decode steps. Measured for the
reader only: the choice goes by bit operations, so that it is the same everywhere (search/cost.py).

Letters: B batch (1 here), S canvas side, L layers, H heads, C rows of the KV cache, K head width.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecap.bundle.manifest import Function
from edgecap.core.progress import progress
from edgecap.exporters import contract, to_onnx, to_tflite
from edgecap.exporters.quiet import quiet
from edgecap.exporters.steps import Step, seconds, step
from edgecap.exporters.treatment import ByPlan
from edgecap.quant.plan import Plan
from edgecap.quant.search.cost import CAPTION
from edgecap.quant.smooth import smooth

if TYPE_CHECKING:
    from torch import Tensor

    from edgecap.model.captioner import Captioner

ROUNDS, STEPS = 9, 8  # median over rounds; decode steps in each
Both = tuple[Step, Step]  # encode_image, decode


def caption_ms(
    network: Captioner,
    plans: Sequence[Plan],
    format_: str,
    clock: Callable[[], float] = time.process_time,
) -> tuple[float, ...]:
    """Milliseconds of a caption of each plan, all smoothed alike; `format_` is one of TIMED."""
    smoothed = smooth(network, plans[0].smoothing)
    with tempfile.TemporaryDirectory(prefix="edgecap-front-") as scratch:
        with quiet():
            write = _writer(format_, smoothed)
        examples = {f.name: f.inputs for f in contract.functions(smoothed)}
        timed = []
        for i, plan in enumerate(progress(plans, "writing plans")):
            directory = Path(scratch) / str(i)
            directory.mkdir()
            with quiet():
                functions = write(plan, directory)
                timed.append(_both(format_, directory, functions, examples))
        return _interleaved(timed, clock)


def _writer(format_: str, smoothed: Captioner) -> Callable[[Plan, Path], dict[str, Function]]:
    """Converts once; what it returns writes the artifact of one plan into a directory."""
    if format_ == "tflite":
        data = to_tflite.convert(smoothed)
        return lambda plan, out: to_tflite.write(data, plan.precision, out, ByPlan(plan, smoothed))
    graphs = to_onnx.convert(smoothed)

    def write(plan: Plan, out: Path) -> dict[str, Function]:
        own = {name: type(g).FromString(g.SerializeToString()) for name, g in graphs.items()}
        return to_onnx.write(own, plan.precision, out, ByPlan(plan, smoothed))

    return write


def _both(
    format_: str,
    directory: Path,
    functions: Mapping[str, Function],
    examples: Mapping[str, Mapping[str, Tensor]],
) -> Both:
    """Calls of a written plan on `examples`, inputs by function.

    Those of encode_image: image uint8 [B,S,S,3]. Of decode: token int [B,1], position int [B], k
    and v [L,B,H,C,K].
    """

    def made(name: str) -> Step:
        inputs = {key: value.numpy() for key, value in examples[name].items()}
        return step(format_, directory / functions[name].file, functions[name], inputs)

    return made("encode_image"), made("decode")


def _interleaved(timed: Sequence[Both], clock: Callable[[], float]) -> tuple[float, ...]:
    taken: list[list[float]] = [[] for _ in timed]
    for lap in progress(range(ROUNDS + 1), "timing plans"):  # the first warms up
        for i in range(len(timed)):
            which = (i + lap) % len(timed)
            encode, decode = timed[which]
            once, often = seconds(encode, clock), min(seconds(decode, clock) for _ in range(STEPS))
            if lap:
                taken[which].append(once + CAPTION * often)
    return tuple(1e3 * statistics.median(each) for each in taken)
