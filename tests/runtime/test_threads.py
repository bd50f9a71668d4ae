"""Several threads: images side by side on engines that take one a call, captions as of one."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import tiny_formats
from tiny_onnx import write_bundle

from edgecap.runtime import load
from edgecap.runtime.threads import map_in_threads

IMAGES = [
    np.random.default_rng(seed).integers(0, 255 - 20 * seed, (50, 60, 3), np.uint8)
    for seed in range(9)
]


@pytest.fixture(scope="module", params=["onnx", "tflite"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose engine takes one image a call."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "tflite":
        return tiny_formats.write("tflite", directory)
    write_bundle(directory / "w8", verified=False, precision="w8")
    return directory / "w8"


def test_results_keep_their_order_and_workers_are_never_shared() -> None:
    workers = ["a", "b", "c"]
    busy = {worker: threading.Lock() for worker in workers}
    together = threading.Barrier(len(workers), timeout=60)

    def work(worker: str, item: int) -> tuple[int, str]:
        assert busy[worker].acquire(blocking=False), "two items on one worker"
        try:
            if item < len(workers):
                together.wait()  # passes only where all workers work at the same time
            return item, worker
        finally:
            busy[worker].release()

    done = map_in_threads(workers, range(20), work)
    assert [item for item, _ in done] == list(range(20))
    assert {worker for _, worker in done[:3]} == set(workers)


def test_the_first_failure_is_raised_when_nobody_works_any_more() -> None:
    working = threading.Semaphore(2)

    def work(_: str, item: int) -> int:
        with working:
            if item in (2, 5):
                raise MemoryError(item)
            return item

    with pytest.raises(MemoryError) as raised:
        map_in_threads(["a", "b"], range(8), work)
    assert raised.value.args == (2,)
    assert working.acquire(blocking=False) and working.acquire(blocking=False)


def test_one_worker_needs_no_thread() -> None:
    names = map_in_threads(["a"], range(3), lambda worker, item: threading.current_thread().name)
    assert set(names) == {threading.current_thread().name}


@pytest.mark.parametrize("count", [2, 9])
def test_captions_are_those_of_one_thread(bundle: Path, count: int) -> None:
    one, two = load(bundle), load(bundle, threads=2)
    expected = [one.caption(image)[0] for image in IMAGES[:count]]
    assert count < 9 or len({caption.tokens for caption in expected}) > 1  # the images count
    assert two.caption(IMAGES[:count]) == expected
    assert list(two.caption_many(iter(IMAGES[:count]), batch=4)) == expected
    assert one.caption(IMAGES[:count]) == expected


def test_images_that_fail_and_samples_keep_their_places(bundle: Path) -> None:
    from edgecap.runtime import InputError, Sampling

    sampling = Sampling(temperature=2.0, seed=3)
    images = [*IMAGES[:3], "nowhere.png", *IMAGES[3:]]
    one, two = (
        list(load(bundle, threads=n).caption_many(images, sampling=sampling, on_error="skip"))
        for n in (1, 2)
    )
    assert isinstance(two[3], InputError)
    assert [str(each) for each in two] == [str(each) for each in one]


def test_a_captioner_of_two_threads_serves_several_callers(bundle: Path) -> None:
    captioner = load(bundle, threads=2)
    expected = captioner.caption(IMAGES[:4])
    found = map_in_threads(list("abc"), range(6), lambda *_: captioner.caption(IMAGES[:4]))
    assert found == [expected] * 6
