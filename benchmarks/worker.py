"""The process that is measured: loads one artifact, captions, then answers requests.

Started as `python -m edgecap.benchmarks.worker JOB`, JOB being JSON; talks as `protocol` defines.
B = 1 image; C rows of the cache, V vocabulary.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from edgecap.benchmarks.machine import memory_mb
from edgecap.benchmarks.process import pin
from edgecap.benchmarks.protocol import DECODE_POSITION, PAUSE_S, Round, Samples
from edgecap.core.errors import EdgecapError

if TYPE_CHECKING:
    from edgecap.runtime.captioner import Captioner

Operation = Callable[[], object]
Times: TypeAlias = tuple[float, float]  # wall and CPU milliseconds of one run
STABLE = 0.1  # the last runs of a warm-up lie so close to their median, relative
STABLE_RUNS = 3
MOST_WARM_RUNS = 15


def main(argument: str) -> int:
    """Serve one artifact until the input ends."""
    answers = own_output()
    job = json.loads(argument)

    def load() -> Any:
        from edgecap.models.loading import load

        return load(job["source"], backend=job.get("backend", "auto"), threads=job["threads"])

    if job.get("pinned"):
        pin(job["threads"])
    about = started if job.get("tells_start") else dict
    return serve(load, job["images"], sys.stdin, answers, about)


def started() -> dict[str, Any]:
    """Milliseconds since this process began, where the system reports it."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return {}
    began = ticks / os.sysconf("SC_CLK_TCK")
    return {"cold_start_ms": (time.clock_gettime(time.CLOCK_BOOTTIME) - began) * 1e3}


def serve(
    load: Callable[[], Any],
    images: Sequence[str],
    requests: IO[str],
    answers: IO[str],
    about: Callable[[], dict[str, Any]] = dict,
) -> int:
    """Make the captioner, show its first caption, then answer requests line by line.

    `about` adds to the fields of `ready`. Returns the exit status; an error of the artifact is
    answered, and ends the process.
    """

    def say(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        measured = Measured(load(), images)
        first = measured.caption(images[0])
        backend = measured.captioner.backend
        say(ready={"backend": backend, "first_caption": first.text, **about()})
        for line in requests:
            request = json.loads(line)
            say(done=_answer(request, measured))
    except EdgecapError as error:
        say(error=str(error))
        return error.exit_code
    return 0


class Measured:
    """A captioner and the operations that are timed."""

    def __init__(self, captioner: Any, images: Sequence[str]) -> None:
        self.captioner, self.images = captioner, list(images)
        self._request = {"lang": captioner.languages[0]} if captioner.languages else {}
        self._next = cycle(self.images)
        self._after_pause = cycle(self.images)
        self._parts: dict[str, Operation] | None = None

    def caption(self, image: str, **options: Any) -> Any:
        """The caption of one image."""
        return self.captioner.caption([image], **self._request, **options)[0]

    def round(self, repeats: dict[str, int]) -> Round:
        """So many runs of each operation."""
        if self._parts is None:
            self._parts = _parts(self.captioner, self.images)
        found: Round = {}
        for key, n in repeats.items():
            if key == "caption_ms":
                found |= self._captions(n)
            elif key == "caption_after_pause_ms":
                found[key] = self._paused(n)
            elif key in self._parts:
                found[key] = _samples(_timed(self._parts[key])[0] for _ in range(n))
        return found

    def warm(self) -> int:
        """Caption one image until the last runs take the same time; how many runs that took."""
        times: list[float] = []
        while len(times) < MOST_WARM_RUNS:
            (_, cpu), _ = _timed(self.caption, self.images[0])
            times.append(cpu)
            last = times[-STABLE_RUNS:]
            middle = sorted(last)[len(last) // 2]
            if len(last) == STABLE_RUNS and max(abs(t - middle) for t in last) <= STABLE * middle:
                break
        return len(times)

    def batch(self, size: int) -> dict[str, float]:
        """One call with so many images."""
        files = [self.images[i % len(self.images)] for i in range(size)]
        (wall, cpu), _ = _timed(self.captioner.caption, files, **self._request)
        return {"wall": wall, "cpu": cpu}

    def _captions(self, n: int) -> Round:
        first: list[Times] = []
        whole: list[Times] = []
        token: list[Times] = []
        for _ in range(n):
            image = next(self._next)
            one, _ = _timed(self.caption, image, max_length=1)
            all_, caption = _timed(self.caption, image)
            first.append(one)
            whole.append(all_)
            further = len(caption.tokens) + bool(caption.complete) - 1  # the end is a step too
            if further > 0:
                token.append(((all_[0] - one[0]) / further, (all_[1] - one[1]) / further))
        found = {"first_token_ms": first, "token_ms": token, "caption_ms": whole}
        return {key: _samples(times) for key, times in found.items() if times}

    def _paused(self, n: int) -> Samples:
        times = []
        for _ in range(n):
            time.sleep(PAUSE_S)
            times.append(_timed(self.caption, next(self._after_pause))[0])
        return _samples(times)


def _answer(request: dict[str, Any], measured: Measured) -> dict[str, Any]:
    """What `protocol` defines for the request."""
    return _ANSWERS[request["do"]](request, measured)


def _memory(request: dict[str, Any], measured: Measured) -> dict[str, Any]:
    peak, now = memory_mb()
    return {"peak_rss_mb": peak, "steady_rss_mb": now}


def _captions(request: dict[str, Any], measured: Measured) -> dict[str, Any]:
    captions = [measured.caption(image) for image in measured.images]
    return {
        "captions": [one.raw or one.text for one in captions],
        "tokens": [len(one.tokens) for one in captions],
    }


def _accuracy(request: dict[str, Any], measured: Measured) -> dict[str, Any]:
    if not measured.captioner.languages:  # its accuracy is measured on captions of the user's own
        return {}
    from edgecap.benchmarks.reference.evaluate import evaluate
    from edgecap.reference.scenes.shipped import load_set

    scenes = load_set("gate", request["scenes"])
    return evaluate(measured.captioner, scenes, request["languages"]).to_json()


_ANSWERS: dict[str, Callable[[dict[str, Any], Measured], dict[str, Any]]] = {
    "round": lambda request, measured: dict(measured.round(request["repeats"])),
    "warm": lambda request, measured: {"runs": measured.warm()},
    "batch": lambda request, measured: measured.batch(request["size"]),
    "memory": _memory,
    "captions": _captions,
    "accuracy": _accuracy,
}


def _parts(captioner: Any, images: Sequence[str]) -> dict[str, Operation]:
    """The parts of a caption that this kind of captioner lets us time alone."""
    if not hasattr(captioner, "graphs"):
        return {}  # a checkpoint: transformers has no step that could be timed alone
    return _of_functions(captioner, images)


def _of_functions(captioner: Captioner, images: Sequence[str]) -> dict[str, Operation]:
    """encode and decode."""
    from edgecap.runtime.image_processing import process
    from edgecap.runtime.state import State

    graphs = captioner.graphs
    inputs = [process(image, captioner.manifest.image) for image in images]
    model_input = cycle(inputs)
    state = State(graphs, graphs.encode_inputs(inputs[:1]))
    for _ in range(min(DECODE_POSITION, captioner.manifest.interface.dims["T"] - 1)):
        state.feed([1])

    def step() -> None:
        state.feed([1])
        state.back()

    return {
        "encode_image_ms": lambda: graphs.encode_inputs([next(model_input)]),
        "decode_step_ms": step,
    }


def _timed(operation: Callable[..., Any], *given: Any, **named: Any) -> tuple[Times, Any]:
    """Wall and CPU milliseconds of one run, and its result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = operation(*given, **named)
    return ((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3), result


def _samples(times: Iterable[Times]) -> Samples:
    pairs = list(times)
    return {"wall": [wall for wall, _ in pairs], "cpu": [cpu for _, cpu in pairs]}


def own_output() -> IO[str]:
    """The standard output, from here on ours alone: what engines print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
