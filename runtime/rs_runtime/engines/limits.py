"""How many cores and how much memory this process may use, also in a container."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["cores", "free_memory"]

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


def cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    The least of the cores that the scheduler gives it and of the CPU time that its control groups
    allow, rounded up.
    """
    try:
        found = len(os.sched_getaffinity(0))
    except AttributeError:
        found = os.cpu_count() or 1
    return max(1, min([found, *map(math.ceil, _shares())]))


def free_memory() -> int | None:
    """Return the bytes that this process can still take; None if the system does not say.

    The least of what programs can still take on this machine (proc(5), MemAvailable) and in each
    of its control groups, where file contents that nobody uses count as free.
    """
    found = [*_available(), *_rooms()]
    return max(0, min(found)) if found else None


def _available() -> Iterator[int]:
    for line in _lines(_PROC / "meminfo"):
        if line.startswith("MemAvailable:"):
            yield from _numbers(line.split()[1], scale=1024)


def _shares() -> Iterator[float]:
    """Yield the cores' worth of CPU time that each control group allows."""
    for group in _groups("cpu"):
        # Version 2, cgroups(7): "max 100000", or the time allowed in each period, microseconds.
        quota = " ".join(_lines(group / "cpu.max")).split()
        if not quota:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota = [word for name in names for word in _lines(group / name)]
        # -1 is no limit.
        numbers = [number for word in quota for number in _numbers(word)]
        if len(numbers) == 2 and min(numbers) > 0:
            yield numbers[0] / numbers[1]


def _rooms() -> Iterator[int]:
    """Yield the bytes that are left in each control group with a limit."""
    versions = (
        ("memory.max", "memory.current", "inactive_file "),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "),
    )
    for group in _groups("memory"):
        for limit, usage, unused in versions:
            most, used = (
                [number for word in _lines(group / name)[:1] for number in _numbers(word)]
                for name in (limit, usage)
            )
            if most and used:
                stat = [line for line in _lines(group / "memory.stat") if line.startswith(unused)]
                cache = [number for line in stat for number in _numbers(line.split()[1])]
                yield most[0] - used[0] + sum(cache)


def _groups(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of those around it.

    In a container the path may be that of the host; then only the folder at the top is there, which
    is the container's.
    """
    for line in _lines(_PROC / "self" / "cgroup"):
        _, names, path = (*line.split(":", 2), "", "")[:3]
        if names and controller not in names.split(","):
            continue
        top = _CGROUPS / controller if names else _CGROUPS
        inside = Path(path.strip("/"))
        if ".." not in inside.parts:
            yield from (top / part for part in (inside, *inside.parents))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return []


def _numbers(word: str, scale: int = 1) -> Iterator[int]:
    """Yield a whole number, or nothing for another word, such as ``max``."""
    try:
        yield int(word) * scale
    except ValueError:
        return
