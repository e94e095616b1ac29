"""The cache is measured and pruned: the longest unused first, and nothing that is not ours."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rs_toolkit.data.cache import prune_cache, survey_cache
from rs_toolkit.errors import ConfigError

DAY = 86_400


def put(path: Path, size: int, days: float) -> Path:
    """Write a file that was used some days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    used = time.time() - days * DAY
    os.utime(path, (used, used))
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    put(folder / "0123456789ab" / "00" / "00a.npy", 1000, 9)
    put(folder / "0123456789ab" / "00" / "00a.json", 10, 9)
    put(folder / "0123456789ab" / "01" / "01b.npy", 1000, 1)
    put(folder / "0123456789ab" / "00ff.pack", 3000, 2)
    put(folder / "0123456789ab" / "00ff.index", 64, 20)
    put(folder / "features" / "xyz" / "00" / "00a.npy", 400, 5)
    put(folder / "unpacked" / "archive" / "photos" / "a.jpg", 300, 30)
    put(folder / "unpacked" / "archive" / "photos" / "b.jpg", 300, 3)
    put(folder / "fastest.json", 50, 90)
    put(folder / "holiday" / "beach.jpg", 5000, 400)
    put(folder / "notes.txt", 70, 400)
    return folder


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_each_kind_is_counted_the_largest_first(cache) -> None:
    held = survey_cache(cache)
    assert [(item.kind, item.files, item.bytes) for item in held] == [
        ("decoded photos", 5, 5074),
        ("unpacked archives", 2, 600),
        ("frozen features", 1, 400),
    ]
    assert [round(item.unused_days) for item in held] == [1, 3, 5]


def test_the_longest_unused_goes_first(cache) -> None:
    before = files(cache)
    done = prune_cache(cache, most_bytes=5100)
    assert (done.files, done.bytes, done.left) == (2, 1010, 5064)
    gone = {"0123456789ab/00/00a.npy", "0123456789ab/00/00a.json"}
    assert before - files(cache) == gone and not (cache / "0123456789ab" / "00").exists()
    assert prune_cache(cache, most_bytes=5064).files == 0


def test_a_pack_goes_with_its_index(cache) -> None:
    before = files(cache)
    gone = {f"0123456789ab/{name}" for name in ("00/00a.npy", "00/00a.json")}
    gone |= {"features/xyz/00/00a.npy", "0123456789ab/00ff.pack", "0123456789ab/00ff.index"}
    assert prune_cache(cache, most_bytes=4000).left == 1000
    assert gone <= before - files(cache)


def test_what_was_unused_for_long_goes(cache) -> None:
    done = prune_cache(cache, unused_days=4)
    assert (done.files, done.left) == (3, 4664)
    assert (cache / "unpacked" / "archive" / "photos" / "a.jpg").is_file()


def test_an_archive_goes_as_a_whole_and_nothing_that_is_not_ours(cache, tmp_path) -> None:
    outside = put(tmp_path / "elsewhere" / "a.npy", 10, 900)
    (cache / "features" / "link").symlink_to(outside.parent)
    (cache / "results").symlink_to(outside.parent)
    assert prune_cache(cache, most_bytes=0).left == 0
    assert files(cache) - {"results/a.npy", "features/link/a.npy"} == {
        "fastest.json",
        "holiday/beach.jpg",
        "notes.txt",
    }
    assert outside.is_file()


def test_a_cache_that_is_not_there_is_empty(tmp_path) -> None:
    assert survey_cache(tmp_path / "none") == []
    assert prune_cache(tmp_path / "none", most_bytes=0).files == 0


@pytest.mark.parametrize("limits", [{}, {"most_bytes": -1}, {"unused_days": -1.0}])
def test_limits_are_checked(cache, limits) -> None:
    with pytest.raises(ConfigError):
        prune_cache(cache, **limits)
