"""The C core as a target: the same captions as the Python runtime, through the same protocol."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from c_edgecap import SOURCES, compile_c, core
from tiny_formats import write

from edgecap.benchmarks import c_core, targets
from edgecap.benchmarks.protocol import BenchPlan
from edgecap.benchmarks.runner import bench
from edgecap.bundle.io import open_bundle
from edgecap.core.errors import UnsupportedError

PLAN = BenchPlan(rounds=3, starts=1, batches=(1, 2), batch_rounds=1, scenes=0)
WORKER = Path(c_core.__file__).with_name("c_worker.c")


@pytest.mark.full
def test_the_c_worker_answers_as_the_python_worker_does(tmp_path: Path) -> None:
    opened = [open_bundle(write("onnx", tmp_path))]
    with ExitStack() as stack:
        files = stack.enter_context(targets.images(2))
        added, left_out = c_core.targets(opened, files, 1, stack)
        chosen = [*targets.targets(opened, None, files, 1), *added]
        python, c = bench(chosen, PLAN).rows
    assert not left_out and (python.error, c.error) == (None, None)
    assert c.about["backend"] == "C core on onnxruntime" and c.name.endswith(", C core")
    assert c.same_captions == 1.0
    assert c.about["caption_tokens"] == python.about["caption_tokens"]
    without = {"decode_step_ms"}  # the core does not hand out a step
    assert set(python.times) - set(c.times) == without and len(c.rounds) == PLAN.rounds
    assert set(c.batches) == set(python.batches) and c.peak_rss_mb and c.steady_rss_mb
    assert c.size_mb and python.size_mb and c.size_mb > python.size_mb


@pytest.mark.full
def test_the_worker_is_strict_c(tmp_path: Path) -> None:
    reader = [str(SOURCES / name) for name in ("pnm.c", "codecs.c")]
    compile_c(str(WORKER), *reader, *core(), "-o", str(tmp_path / "w"), "-lm", "-ldl")


def test_a_format_that_the_core_does_not_run_is_told() -> None:
    with pytest.raises(UnsupportedError, match="no coreml bundles"):
        c_core.engine_library("coreml")
