"""How much memory there is, as Linux tells it, on trees of files that tests write."""

from pathlib import Path

import pytest

from edgecap.bundle.schema1 import FUNCTIONS, identity_names
from edgecap.core.errors import is_out_of_memory
from edgecap.reference.config import SIZES
from edgecap.reference.manifest import build_manifest
from edgecap.runtime.memory import SHARE, free_bytes, image_bytes, images_that_fit

MB = 1 << 20


def write(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def machine(root: Path, free_mb: int, cgroup: str) -> Path:
    told = f"MemTotal: {8 * free_mb * 1024} kB\nMemFree: 1 kB\nMemAvailable: {free_mb * 1024} kB"
    return write(root, {"proc/meminfo": told, "proc/self/cgroup": cgroup})


def test_without_groups_it_is_what_the_machine_has(tmp_path: Path) -> None:
    assert free_bytes(machine(tmp_path, 700, "0::/")) == 700 * MB


def test_a_v2_group_counts_what_it_could_give_back(tmp_path: Path) -> None:
    root = machine(tmp_path, 700, "0::/app")
    group = "sys/fs/cgroup/app/memory"
    write(root, {f"{group}.max": 300 * MB, f"{group}.current": 250 * MB})
    assert free_bytes(root) == 50 * MB
    write(root, {f"{group}.stat": f"anon 5\ninactive_file {100 * MB}"})
    assert free_bytes(root) == 150 * MB


def test_the_tightest_group_above_counts(tmp_path: Path) -> None:
    root = machine(tmp_path, 700, "0::/a/b")
    for place, limit in (("", "max"), ("a/", 90 * MB), ("a/b/", 400 * MB)):
        group = f"sys/fs/cgroup/{place}memory"
        write(root, {f"{group}.max": limit, f"{group}.current": 10 * MB})
    assert free_bytes(root) == 80 * MB


def test_a_v1_group(tmp_path: Path) -> None:
    root = machine(tmp_path, 700, "4:cpu,cpuacct:/x\n3:memory:/docker/1234\n")
    # In a container only the base is visible, whatever the path says.
    group = "sys/fs/cgroup/memory/memory"
    write(root, {f"{group}.limit_in_bytes": 200 * MB, f"{group}.usage_in_bytes": 80 * MB})
    assert free_bytes(root) == 120 * MB
    write(root, {f"{group}.stat": f"total_inactive_file {30 * MB}"})
    assert free_bytes(root) == 150 * MB
    write(root, {f"{group}.limit_in_bytes": 9223372036854771712})  # none was set
    assert free_bytes(root) == 700 * MB


def test_a_group_over_its_limit_has_nothing_left(tmp_path: Path) -> None:
    root = machine(tmp_path, 700, "0::/")
    write(root, {"sys/fs/cgroup/memory.max": 1 * MB, "sys/fs/cgroup/memory.current": 2 * MB})
    assert free_bytes(root) == 0


@pytest.mark.parametrize("damage", ["memory.max", "memory.current", "memory.stat"])
def test_what_cannot_be_read_limits_nothing(tmp_path: Path, damage: str) -> None:
    root = machine(tmp_path, 700, "0::/")
    group = "sys/fs/cgroup/memory"
    write(root, {f"{group}.max": 800 * MB, f"{group}.current": 0, f"{group}.stat": ""})
    write(root, {f"sys/fs/cgroup/{damage}": "nonsense"})
    assert free_bytes(root) == 700 * MB


def test_elsewhere_half_of_the_machine(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 64 * MB


def test_a_batch_fits_its_share() -> None:
    functions = {name: identity_names("x", name) for name in FUNCTIONS}
    manifest = build_manifest(
        SIZES["S"], name="", model="", format="onnx", precision="fp32", functions=functions
    )
    interface = manifest.interface
    one = image_bytes(interface)
    assert 10 * MB < one < 100 * MB
    assert images_that_fit(interface, 0) == 1
    assert images_that_fit(interface, round(5.5 * one / SHARE)) == 5


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("onnxruntime: Exception during initialization: std::bad_alloc"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_errors_of_allocators_are_known(error: Exception, said: bool) -> None:
    assert is_out_of_memory(error) is said
