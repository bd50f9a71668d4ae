"""The process that is measured: loads one artifact, captions, then answers requests.

Started as `python -m edgecap.benchmarks.worker JOB`, JOB being JSON; talks as `protocol` says.
B = 1 image; C rows of the cache, V vocabulary.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import IO, TYPE_CHECKING, Any

from edgecap.benchmarks.machine import peak_rss_mb
from edgecap.benchmarks.protocol import BATCH, DECODE_POSITION
from edgecap.core.errors import EdgecapError

if TYPE_CHECKING:
    from edgecap.runtime.captioner import Captioner

Operation = Callable[[], object]


def main(argument: str) -> int:
    """Serve one artifact until the input ends."""
    answers = own_output()
    job = json.loads(argument)

    def load() -> Any:
        from edgecap.models.loading import load

        return load(job["source"], backend=job["backend"], threads=job["threads"])

    return serve(load, job["images"], sys.stdin, answers)


def serve(
    load: Callable[[], Any], images: Sequence[str], requests: IO[str], answers: IO[str]
) -> int:
    """Make the captioner, show its first caption, then answer requests line by line.

    Returns the exit status; an error of the artifact is answered, and ends the process.
    """

    def say(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        captioner = load()
        said = {"lang": captioner.languages[0]} if captioner.languages else {}
        first = captioner.caption([images[0]], **said)[0]
        say(ready={"backend": captioner.backend, "first_caption": first.text})
        operations = _operations(captioner, images)
        for line in requests:
            request = json.loads(line)
            say(done=_answer(request, captioner, operations))
    except EdgecapError as error:
        say(error=str(error))
        return error.exit_code
    return 0


def _answer(
    request: dict[str, Any], captioner: Any, operations: dict[str, Operation]
) -> dict[str, Any]:
    if request["do"] == "round":
        return {
            key: _time(operations[key], n)
            for key, n in request["repeats"].items()
            if key in operations
        }
    if request["do"] == "memory":
        return {"peak_rss_mb": peak_rss_mb()}
    if not captioner.languages:  # its accuracy is measured on captions of the user's own
        return {}
    from edgecap.benchmarks.reference.evaluate import evaluate
    from edgecap.reference.scenes.shipped import load_set

    scenes = load_set("gate", request["scenes"])
    return evaluate(captioner, scenes, request["languages"]).to_json()


def _operations(captioner: Any, images: Sequence[str]) -> dict[str, Operation]:
    """What `protocol.TIMED` times of this kind of captioner, each moving on to the next image."""
    files = cycle(images)
    said = {"lang": captioner.languages[0]} if captioner.languages else {}
    captions = {
        "caption_ms": lambda: captioner.caption([next(files)], **said),
        "batch_ms": lambda: captioner.caption([next(files) for _ in range(BATCH)], **said),
    }
    if not hasattr(captioner, "graphs"):
        return captions  # a checkpoint: transformers has no step that could be timed alone
    return _of_functions(captioner, images) | captions


def _of_functions(captioner: Captioner, images: Sequence[str]) -> dict[str, Operation]:
    """encode and decode."""
    from edgecap.runtime.image_processing import process
    from edgecap.runtime.state import State

    graphs = captioner.graphs
    inputs = [process(image, captioner.manifest.image).pixels for image in images]  # [1,h,w,3]
    model_input = cycle(inputs)
    state = State(graphs, graphs.encode(inputs[0]))
    for _ in range(min(DECODE_POSITION, captioner.manifest.interface.dims["T"] - 1)):
        state.feed([1])

    def step() -> None:
        state.feed([1])
        state.back()

    return {
        "encode_image_ms": lambda: graphs.encode(next(model_input)),
        "decode_step_ms": step,
    }


def _time(operation: Operation, repeats: int) -> list[float]:
    """Milliseconds of each run."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        operation()
        times.append((time.perf_counter() - began) * 1e3)
    return times


def own_output() -> IO[str]:
    """The standard output, from here on ours alone: what engines print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
