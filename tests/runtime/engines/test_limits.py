"""Cores and memory that a container allows, on files as Linux writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rs_runtime.engines import limits

GIB = 2**30
V2, V1 = "0::/box\n", "5:memory:/box\n4:cpu,cpuacct:/box\n1:name=systemd:/other\n0::/\n"


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Return a function that writes files below /proc and /sys/fs/cgroup, on 8 cores."""
    monkeypatch.setattr(limits, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(limits, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)

    def write(**files: object) -> None:
        for name, text in files.items():
            # self__cgroup is the file proc/self/cgroup.
            path = Path(tmp_path, *name.split("__"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(text))

    return write


def test_without_limits_the_affinity_counts(system) -> None:
    assert limits.cores() == 8
    assert limits.free_memory() is None
    system(proc__meminfo="MemTotal: 9 kB\nMemAvailable:    4096 kB\n")
    assert limits.free_memory() == 4 * 2**20


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("5000 100000", 1),
        ("max 100000", 8),
        ("9999999 100000", 8),
        *(("", 8), ("0 0", 8), ("-1 100000", 8), ("odd text\n1", 8)),
    ],
)
def test_cores_of_a_group(system, tmp_path, quota, expected) -> None:
    system(proc__self__cgroup=V2)
    (tmp_path / "cgroup" / "box").mkdir(parents=True)
    (tmp_path / "cgroup" / "box" / "cpu.max").write_text(quota)
    assert limits.cores() == expected


@pytest.mark.parametrize(("quota", "expected"), [("300000", 3), ("-1", 8), ("", 8)])
def test_cores_of_a_group_of_version_1(system, tmp_path, quota, expected) -> None:
    system(proc__self__cgroup=V1)
    box = tmp_path / "cgroup" / "cpu" / "box"
    box.mkdir(parents=True)
    (box / "cpu.cfs_quota_us").write_text(quota + "\n")
    (box / "cpu.cfs_period_us").write_text("100000\n")
    assert limits.cores() == expected


def test_the_least_of_a_group_and_those_around_it(system, tmp_path) -> None:
    system(proc__self__cgroup="0::/outer/inner\n")
    inner = tmp_path / "cgroup" / "outer" / "inner"
    inner.mkdir(parents=True)
    for folder, share, most in ((inner, 4, 8), (inner.parent, 3, 2), (inner.parent.parent, 5, 3)):
        (folder / "cpu.max").write_text(f"{share}00000 100000\n")
        (folder / "memory.max").write_text(f"{most * GIB}\n")
        (folder / "memory.current").write_text(f"{GIB}\n")
    assert limits.cores() == 3
    assert limits.free_memory() == GIB


def test_a_container_sees_its_own_group_at_the_top(system, tmp_path) -> None:
    # The path is that of the host, which the container cannot see.
    system(proc__self__cgroup="0::/docker/0123456789ab\n")
    (tmp_path / "cgroup").mkdir()
    (tmp_path / "cgroup" / "cpu.max").write_text("100000 100000\n")
    assert limits.cores() == 1


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("most", [512 * 2**20, None])
def test_memory_of_a_group(system, tmp_path, version, most) -> None:
    system(proc__self__cgroup=V1 if version == 1 else V2)
    system(proc__meminfo=f"MemAvailable: {GIB // 1024} kB\n")
    box = tmp_path / "cgroup" / ("memory/box" if version == 1 else "box")
    box.mkdir(parents=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    if version == 2:
        names = ("memory.max", "memory.current", "inactive_file")
    unlimited = 2**63 - 4096 if version == 1 else "max"
    (box / names[0]).write_text(f"{most or unlimited}\n")
    (box / names[1]).write_text(f"{200 * 2**20}\n")
    (box / "memory.stat").write_text(f"anon 7\n{names[2]} {50 * 2**20}\n")
    assert limits.free_memory() == (362 * 2**20 if most else GIB)


@pytest.mark.parametrize("text", ["", "0", "odd", "0::/../../etc", "::", "\xff"])
def test_odd_files_are_no_limit(system, tmp_path, text) -> None:
    system(proc__self__cgroup=text, proc__meminfo="MemAvailable: many kB\n")
    assert limits.cores() == 8
    assert limits.free_memory() is None
