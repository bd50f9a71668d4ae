"""A target's process without a model: `scripted_worker.py BEHAVIOUR MILLISECONDS IMAGE…`.

Behaviours: good, noisy (prints where answers go), refused (an error of edgecap at loading), crash
(dies at loading), dies (in the second round), hangs (at loading), evaluated (its times mean
nothing). The process's clock stands still but where a script says how long something takes, so
times are exact however busy the machine is.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgecap.benchmarks.protocol import DECODE_POSITION, UNTIMED
from edgecap.benchmarks.worker import own_output, serve
from edgecap.bundle.image_spec import letterboxed
from edgecap.core.errors import BundleError
from edgecap.runtime.preprocess import preprocess

sys.path.insert(0, str(Path(__file__).parent))
from fake_session import FakeSession  # noqa: E402 -- found through the line above
from method_session import interface_for  # noqa: E402
from scripted import Perfect  # noqa: E402

from edgecap.reference.scenes.shipped import load_set  # noqa: E402
from edgecap.runtime.backends.single import Arrays  # noqa: E402
from edgecap.runtime.graphs import Graphs  # noqa: E402

MODEL_INPUT = letterboxed()
V = 8


class Clock:
    """Moves when it is told to."""

    now = 0.0

    def read(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


CLOCK = Clock()
time.perf_counter = time.process_time = CLOCK.read


FIRST_TOKEN = 0.5  # of a caption's time


class Working(FakeSession):
    """Takes a set time for everything."""

    def __init__(self, scripts: Sequence[Sequence[int]], V: int, work: Callable[[], None]) -> None:
        super().__init__(scripts, V)
        self.work = work

    def run(self, name: str, inputs: Arrays) -> Arrays:
        self.work()
        if name == "decode":
            B, P = len(inputs["token"]), self.patches
            row = np.zeros((1, B, 1, 1, 1), np.float32)
            logits, attention = np.zeros((B, V), np.float32), np.ones((B, P), np.float32)
            return {"logits": logits, "new_k": row, "new_v": row, "attention": attention}
        return super().run(name, {"image": np.zeros_like(inputs["image"])})


class Scripted(Perfect):
    """Knows the first shipped scenes by their pixels; every operation takes a set time."""

    languages = ("en",)

    def __init__(self, behaviour: str, seconds: float) -> None:
        shown = load_set("gate", 8)
        super().__init__(shown)
        self.number = {pixels.tobytes(): i for i, (pixels, _) in enumerate(shown)}
        self.behaviour, self.seconds, self.rounds = behaviour, seconds, 0
        if behaviour == "evaluated":
            self.backend = UNTIMED[0]
        interface = interface_for(V, DECODE_POSITION + 2, 4, 3)
        self.manifest = SimpleNamespace(image=MODEL_INPUT, interface=interface)
        self.graphs = Graphs(Working([[0] * V], V, self.work), interface)

    def work(self, *_: Any) -> None:
        if self.behaviour == "noisy":
            os.write(1, b"loading delegate...\n")
        CLOCK.pass_(self.seconds)
        self.rounds += 1
        if self.behaviour == "dies" and self.rounds > 8:
            print("Segmentation fault of a kind", file=sys.stderr)
            os._exit(139)

    def caption(self, images: Sequence[Any], lang: str, max_length: int | None = None) -> list:
        CLOCK.pass_(self.seconds * len(images) * (1 if max_length is None else FIRST_TOKEN))
        model_inputs = [preprocess(image, MODEL_INPUT)[0] for image in images]
        return super().caption([self.numbered(model_input) for model_input in model_inputs], lang)

    def embed_images(self, images: Sequence[Any]) -> np.ndarray:
        return super().embed_images([self.numbered(np.asarray(image)) for image in images])

    def numbered(self, model_input: np.ndarray) -> np.ndarray:
        return np.full_like(model_input, self.number.get(model_input.tobytes(), 255))


def main(behaviour: str, milliseconds: str, *images: str) -> int:
    def load() -> Scripted:
        if behaviour == "refused":
            raise BundleError("bundle.altered", "model.bin is not what the manifest says.")
        if behaviour == "crash":
            raise RuntimeError("no such engine")
        if behaviour == "hangs":
            time.sleep(60)
        return Scripted(behaviour, float(milliseconds) / 1e3)

    return serve(load, images, sys.stdin, own_output())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
