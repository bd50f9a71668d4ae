"""All that an ablation needs: its facts, then every arm with every seed that has no row yet."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from edgecap.benchmarks.machine import cpu_model, machine
from edgecap.benchmarks.reference.ablations.experiment import Ablation, Arm, Budget, Row
from edgecap.benchmarks.reference.ablations.store import Store
from edgecap.benchmarks.reference.ablations.trial import run
from edgecap.core.progress import progress

Task = tuple[Arm, int, int, int]  # arm, seed, images, scenes


def gather(ablation: Ablation, budget: Budget, store: Store) -> tuple[list[Row], list[Row]]:
    """The facts and the runs' rows, seed by seed; what the store lacks is made and stored."""
    images = budget.images or ablation.images
    facts = _facts(ablation, store)
    runs = [(arm, seed) for seed in range(budget.seeds) for arm in ablation.arms]
    keys = [arm.key(seed, images, budget.scenes) for arm, seed in runs]
    found = {key: store.find(key) for key in keys}
    missing: list[Task] = [
        (arm, seed, images, budget.scenes)
        for (arm, seed), key in zip(runs, keys, strict=True)
        if found[key] is None
    ]
    label = f"{ablation.name}: runs"
    for task, row in progress(_runs(missing, budget.jobs), label, total=len(missing)):
        arm, seed, *_ = task
        key = arm.key(seed, images, budget.scenes)
        kept = found[key] = {"key": key, **row}
        store.add(kept)
    # A row may be another ablation's, in which its arm has another name.
    rows = [
        {**(found[key] or {}), "arm": arm.name} for (arm, _), key in zip(runs, keys, strict=True)
    ]
    return facts, rows


def _facts(ablation: Ablation, store: Store) -> list[Row]:
    if ablation.facts is None:
        return []
    about = json.dumps([ablation.name, ablation.facts_about, cpu_model(), ablation.facts_of()])
    key = hashlib.sha256(about.encode()).hexdigest()[:16]
    row = store.find(key)
    if row is None:
        row = {"key": key, "facts": ablation.facts(), "machine": machine()}
        store.add(row)
    return row["facts"]


def _runs(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Row]]:
    """Tasks and their rows as they are done; what is done when one fails has been given out."""
    if jobs == 1:
        for task in tasks:
            yield task, run(*task)
        return
    # A fork would lose PyTorch's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context) as pool:
        waiting = {pool.submit(run, *task): task for task in tasks}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
