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
from typing import IO, Any

import numpy as np

from edgecap.benchmarks.machine import peak_rss_mb
from edgecap.benchmarks.protocol import BATCH, DECODE_POSITION
from edgecap.core.errors import EdgecapError
from edgecap.reference.tokens import EOS_ID, LANGUAGES

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
        first = captioner.caption([images[0]], lang=LANGUAGES[0])[0]
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
        return {key: _time(operations[key], n) for key, n in request["repeats"].items()}
    if request["do"] == "memory":
        return {"peak_rss_mb": peak_rss_mb()}
    from edgecap.benchmarks.reference.evaluate import evaluate
    from edgecap.reference.scenes.shipped import load_set

    scenes = load_set("evaluation", request["scenes"])
    return evaluate(captioner, scenes, request["languages"]).to_json()


def _operations(captioner: Any, images: Sequence[str]) -> dict[str, Operation]:
    """What `protocol.TIMED` times, each moving on to the next image."""
    from edgecap.runtime.preprocess import preprocess

    session = captioner.session
    model_inputs = [
        preprocess(image, captioner.manifest.preprocessing)[0][None] for image in images
    ]  # uint8 [1,224,224,3]
    files, model_input = cycle(images), cycle(model_inputs)
    k, v = captioner.cache(model_inputs[0])  # float [L,1,H,C,Dh]
    token = np.array([[EOS_ID]], np.int32)  # [1,1]; any token costs the same
    position = np.array([DECODE_POSITION], np.int32)  # [1]
    return {
        "encode_image_ms": lambda: session.encode_image(next(model_input)),
        "decode_step_ms": lambda: session.decode(token, position, k, v),
        "caption_ms": lambda: captioner.caption([next(files)], lang=LANGUAGES[0]),
        "batch_ms": lambda: captioner.caption(
            [next(files) for _ in range(BATCH)], lang=LANGUAGES[0]
        ),
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
