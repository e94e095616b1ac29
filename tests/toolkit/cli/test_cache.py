"""rs-toolkit cache, and the limit that each command keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def cached(tmp_path: Path, monkeypatch, run) -> Path:
    """A folder of two photos, which a command has put into the cache."""
    for name, grey in (("a", 50), ("b", 200)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        Image.new("RGB", (300, 200), (grey, 90, 10)).save(folder / "1.png")
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    assert run("check", tmp_path / "photos", "--out", tmp_path / "checked")[0] == 0
    return tmp_path


def test_info_and_prune(cached, run) -> None:
    code, out, _ = run("cache", "info")
    assert code == 0 and "2 files  decoded photos, used today" in out
    code, out, _ = run("cache", "prune", "--max-gb", 0)
    assert code == 0 and out.endswith("; 0.00 GB left\n")
    code, out, _ = run("cache", "info")
    assert (code, out) == (0, f"{cached / 'cache'}: 0.00 GB\n")


def test_a_command_makes_again_what_was_pruned_and_keeps_the_limit(
    cached, run, monkeypatch
) -> None:
    first = (cached / "checked" / "audit.json").read_bytes()
    monkeypatch.setenv("RS_CACHE_GB", "0")
    for number in range(2):
        again = cached / f"again{number}"
        assert run("check", cached / "photos", "--out", again)[0] == 0
        assert (again / "audit.json").read_bytes() == first
        assert not list((cached / "cache").rglob("*.pack"))


@pytest.mark.parametrize("size", ["-1", "nan", "ten"])
def test_a_limit_that_is_no_size_is_refused(cached, run, monkeypatch, size) -> None:
    monkeypatch.setenv("RS_CACHE_GB", size)
    code, _, err = run("check", cached / "photos", "--out", cached / "more")
    assert (
        code == 2 and f"RS_CACHE_GB must be a number of gigabytes, 0 or more, got '{size}'" in err
    )
    assert run("cache", "prune")[0] == 2
