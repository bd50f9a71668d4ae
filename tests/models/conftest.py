"""One adapter and one export per tiny checkpoint, for all tests of the session."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from function_files import Graphs, onnx_run
from host_loop import Run, eager
from tiny_checkpoints import EAGER_ONLY, FULL_ONLY, MAKERS, make

from edgecap.models import checkpoint, registry
from edgecap.models.weightless import without_weights

TEXT_ROWS = 32


@dataclass(frozen=True)
class Tiny:
    """A tiny checkpoint, its adapter, and the adapter's functions in PyTorch and ONNX.

    The graphs are traced without weights, as users' exports are.
    """

    directory: Path
    adapter: Any
    eager: Run
    graphs: Callable[[], Graphs]
    onnx: Callable[[], Run]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Tiny]:
    @cache
    def opened(family: str, variant: str) -> Tiny:
        directory = make(family, variant, tmp_path_factory.mktemp(f"{family}-{variant}"))
        rows = TEXT_ROWS if registry.FAMILIES[family].captions else None
        adapter = registry.load(checkpoint.open_checkpoint(directory), rows)

        @cache
        def graphs() -> Graphs:
            return Graphs.of(registry.load(adapter.checkpoint, rows, build=without_weights))

        @cache
        def onnx() -> Run:
            folder = tmp_path_factory.mktemp("onnx")
            graphs().write(folder, "fp32")
            return onnx_run(folder)

        return Tiny(directory, adapter, eager(adapter), graphs, onnx)

    return opened


# Every family of the registry, in every shape: a family without a maker fails here.
EVERY = [(family, variant) for family in registry.FAMILIES for variant in MAKERS[family]]
CAPTIONERS = [case for case in EVERY if registry.FAMILIES[case[0]].captions]

EMBEDDERS = [case for case in EVERY if case not in CAPTIONERS]

QUICK = [case for case in EVERY if case not in FULL_ONLY]
# Their weights are narrowed in `make test`: one of each kind of decoder, and an embedder.
NARROWED = {("git", "tiny"), ("kosmos-2", "tiny"), ("clip", "tiny")}


def named(case: tuple[str, str]) -> str:
    return "-".join(case)


def exported(cases: list[tuple[str, str]], quick: Container[tuple[str, str]]) -> list[Any]:
    return [
        pytest.param(case, marks=() if case in quick else pytest.mark.full, id=named(case))
        for case in cases
        if case not in EAGER_ONLY
    ]


@pytest.fixture(params=EVERY, ids=named)
def case(request: pytest.FixtureRequest, tiny: Callable[[str, str], Tiny]) -> Tiny:
    return tiny(*request.param)


@pytest.fixture(params=CAPTIONERS, ids=named)
def captioner(request: pytest.FixtureRequest, tiny: Callable[[str, str], Tiny]) -> Tiny:
    return tiny(*request.param)


@pytest.fixture(params=exported(EVERY, QUICK))
def exported_case(request: pytest.FixtureRequest, tiny: Callable[[str, str], Tiny]) -> Tiny:
    return tiny(*request.param)


@pytest.fixture(params=exported(EVERY, NARROWED))
def narrow_case(request: pytest.FixtureRequest, tiny: Callable[[str, str], Tiny]) -> Tiny:
    return tiny(*request.param)


@pytest.fixture(params=exported(CAPTIONERS, QUICK))
def exported_captioner(request: pytest.FixtureRequest, tiny: Callable[[str, str], Tiny]) -> Tiny:
    return tiny(*request.param)


@pytest.fixture(params=EMBEDDERS, ids=named)
def embedder(request: pytest.FixtureRequest, tiny: Callable[[str, str], Tiny]) -> Tiny:
    return tiny(*request.param)


@pytest.fixture(params=exported(EMBEDDERS, QUICK))
def exported_embedder(request: pytest.FixtureRequest, tiny: Callable[[str, str], Tiny]) -> Tiny:
    return tiny(*request.param)
