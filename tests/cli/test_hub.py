"""push, pull and hub ids, against a hub on this machine and huggingface_hub's own cache layout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_hub import Hub, serving

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def hub() -> Iterator[tuple[Hub, str]]:
    made = Hub()
    with serving(made) as address:
        yield made, address


@pytest.fixture
def run(hub: tuple[Hub, str], tmp_path: Path) -> Run:
    """The command in a process of its own: huggingface_hub reads its settings at import."""

    def ran(*args: object, token: str | None = "secret", **env: str) -> subprocess.CompletedProcess:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        environment |= {"HF_ENDPOINT": hub[1], "HF_HOME": str(tmp_path / "home"), **env}
        environment["HF_HUB_DISABLE_XET"] = environment["HF_HUB_DISABLE_TELEMETRY"] = "1"
        if token is not None:
            environment["HF_TOKEN"] = token
        return subprocess.run(
            [sys.executable, "-m", "edgecap", *map(str, args)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
        )

    return ran


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.full
def test_a_bundle_goes_to_the_hub_and_comes_back(
    hub: tuple[Hub, str], run: Run, tiny_bundle_made: Path, tmp_path: Path
) -> None:
    store, _ = hub
    store.branches["main"]["old.onnx"] = b"of an older bundle"
    store.branches["main"]["photo.md"] = b"a document"
    pushed = run("push", tiny_bundle_made, "org/name", "--revision", "v2")
    assert pushed.returncode == 0, pushed.stderr
    uploaded = store.branches["v2"]
    manifest = json.loads(uploaded["manifest.json"])
    assert set(uploaded) == {"manifest.json", "photo.md", *manifest["files"]}
    for name in uploaded.keys() - {"photo.md"}:
        assert uploaded[name] == (tiny_bundle_made / name).read_bytes()
    assert {who for method, _, who in store.requests if method == "POST"} == {"Bearer secret"}
    assert set(store.branches["main"]) == {"old.onnx", "photo.md"}

    asked = len(store.requests)
    assert "[hub.missing]" in one_line(run("inspect", "org/name@v2"))
    line = one_line(run("verify", "org/name@v2"))
    assert "[hub.missing]" in line and "edgecap pull org/name@v2" in line
    assert len(store.requests) == asked, "only pull may use the network"

    pulled = run("pull", "org/name", "--revision", "v2", "--json", "-")
    assert pulled.returncode == 0, pulled.stderr
    found = Path(json.loads(pulled.stdout)["path"])
    assert (found / "manifest.json").is_symlink()
    assert "models--org--name" in found.parts
    asked = len(store.requests)
    verified = run("verify", "org/name@v2")
    assert verified.returncode == 0, verified.stderr
    sample = Path(__file__).parents[2] / "edgecap/reference/data/sample.png"
    there = run("caption", sample, "--bundle", "org/name@v2")
    here = run("caption", sample, "--bundle", tiny_bundle_made)
    assert there.returncode == 0 and there.stdout == here.stdout
    assert len(store.requests) == asked


def test_what_cannot_be_pushed_or_pulled(
    run: Run, tiny_bundle: Path, tmp_path: Path, hub: tuple[Hub, str]
) -> None:
    assert "[hub.token]" in one_line(run("push", tiny_bundle, "org/name", token=None))
    assert "[hub.name]" in one_line(run("push", tiny_bundle, "name"))
    assert "[hub.name]" in one_line(run("pull", "name"))
    (tiny_bundle / "manifest.json").write_text("{}")
    assert "[bundle." in one_line(run("push", tiny_bundle, "org/name"))
    lost = run("pull", "org/other")
    assert lost.returncode == 2 and "[hub.failed]" in lost.stderr.splitlines()[-1]
    hub[0].branches["empty"] = {"README.md": b"nothing"}
    assert "[hub.foreign]" in run("pull", "org/name@empty").stderr.splitlines()[-1]


def test_a_bundle_in_the_local_cache_is_loaded_by_its_id(
    tiny_bundle_made: Path, tmp_path: Path
) -> None:
    """Files there are links into blobs, as huggingface_hub lays them out."""
    store, commit = tmp_path / "hub" / "models--org--tiny", "1" * 40
    (store / "refs").mkdir(parents=True)
    (store / "refs" / "main").write_text(commit)
    shutil.copytree(tiny_bundle_made, store / "blobs")
    for blob in [path for path in (store / "blobs").rglob("*") if path.is_file()]:
        link = store / "snapshots" / commit / blob.relative_to(store / "blobs")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    script = (
        "import edgecap, edgecap.runtime as r\n"
        "for load in (edgecap.load, r.load):\n"
        "    print(load('org/tiny').manifest.name, load(f'org/tiny@{\"1\" * 40}').backend)\n"
        "try:\n    edgecap.load('org/none')\n"
        "except edgecap.EdgecapError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
    )
    first, second, refused = done.stdout.splitlines()
    assert first == second
    assert first.endswith(" onnx")
    assert refused.startswith("[hub.missing] org/none is not a directory here")
