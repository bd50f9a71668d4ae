"""Other engines beside edgecap's: which can run, and that they say the same."""

import sys
from pathlib import Path

import pytest
from tiny_formats import write

from edgecap.benchmarks import peers, targets
from edgecap.benchmarks.protocol import BenchPlan
from edgecap.benchmarks.runner import bench
from edgecap.bundle.io import open_bundle

PLAN = BenchPlan(rounds=3, starts=1, pause=0, batches=(1,), batch_rounds=1, scenes=0)


def test_a_peer_that_cannot_run_is_listed_with_its_reason(
    tiny_bundle_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path)
    opened = [open_bundle(tiny_bundle_made)]
    found, left_out = peers.targets(opened, None, [], 1)
    assert [one.name for one in found] == ["tiny-onnx-fp32, ONNX, whole cache returned"]
    assert "openvino is not there; make peers in the checkout builds it" in left_out["OpenVINO"]
    assert "make peers" in left_out["ExecuTorch XNNPACK"]
    assert "weights of tiny are not here" in left_out["torch.compile"]
    assert {one.name.split(", ", 1)[1] for one in found} | set(left_out) == {
        peer.name for peer in peers.PEERS
    }
    python = tmp_path / "tflite-runtime" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert (
        "none of the bundles is tflite"
        in peers.targets(opened, None, [], 1)[1]["tflite-runtime 2.14"]
    )


def test_environments_are_found_from_any_directory() -> None:
    assert peers.ENVIRONMENTS.is_absolute()
    assert (peers.ENVIRONMENTS.parent / "Makefile").exists()


def test_an_engine_with_the_whole_cache_says_the_same(
    tiny_bundle_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path)  # also where `make peers` has built some
    opened = [open_bundle(tiny_bundle_made)]
    with targets.images(2) as files:
        added, _ = peers.targets(opened, None, files, 1)
        ours, naive = bench([*targets.targets(opened, None, files, 1), *added], PLAN).rows
    assert naive.error is None and naive.peer and not ours.peer
    assert naive.about["backend"] == "onnxruntime, whole cache returned"
    assert naive.same_captions == 1.0 and naive.times_faster["caption_ms"].value > 0


def test_a_peer_of_another_environment_runs_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path / "environments")
    python = tmp_path / "environments" / "tflite-runtime" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nOF_PEER=yes exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    opened = [open_bundle(write("tflite", tmp_path))]
    with targets.images(2) as files:
        (found,), _ = peers.targets(opened, None, files, 1)
        (row,) = bench([found], PLAN).rows
    assert found.command[0] == str(python) and row.error is None and row.rounds


def test_every_peer_has_a_file_and_a_make_target() -> None:
    folder = Path(peers.__file__).parent
    assert {f"{peer.module}.py" for peer in peers.PEERS} <= {f.name for f in folder.glob("*.py")}
    makefile = (folder.parents[1] / "Makefile").read_text(encoding="utf-8")
    for peer in peers.PEERS:
        assert peer.environment is None or f"$(PEERS)/{peer.environment}/" in makefile
