"""Where the sample is put: whole or not at all, and nothing of anybody else's is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rs_toolkit.errors import ConfigError, DataError
from rs_toolkit.files import sha256_file
from rs_toolkit.sample import generate_sample

CONTENTS = {"photos", "README.txt", "truth.json", "metadata.csv"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace drawing, for tests of what surrounds it."""
    monkeypatch.setattr("rs_toolkit.sample.generate._photo", lambda *_: b"drawn")


def hashes(root: Path) -> dict[str, str]:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): sha256_file(p) for p in files}


def test_progress_counts_every_photo(tmp_path: Path, quick: None) -> None:
    calls: list[tuple[int, int]] = []
    generate_sample(tmp_path / "s", photos=100, progress=lambda done, n: calls.append((done, n)))
    assert calls == [(k, 100) for k in range(1, 101)]
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_finished_sample_is_left_alone_and_others_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    first = generate_sample(folder, photos=100)
    monkeypatch.setattr("rs_toolkit.sample.generate._write", lambda *_: pytest.fail("drew again"))
    assert generate_sample(folder, photos=100) == first
    before = hashes(folder)
    for other in ({"seed": 1, "photos": 100}, {"photos": 101}):
        with pytest.raises(DataError, match=r"not empty.*choose another folder"):
            generate_sample(folder, **other)
    assert hashes(folder) == before
    next((folder / "photos").rglob("*.jpg")).unlink()
    with pytest.raises(DataError, match="all files present"):
        generate_sample(folder, photos=100)


def test_foreign_content_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    (tmp_path / "truth.json").write_text("[]")
    with pytest.raises(DataError, match="not empty"):
        generate_sample(tmp_path, photos=100)
    with pytest.raises(DataError, match="not a folder"):
        generate_sample(tmp_path / "mine.txt", photos=100)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_failure_leaves_nothing_behind_and_what_waits_undrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[object] = []

    def draw(*arguments: object) -> bytes:
        time.sleep(0.005)
        drawn.append(arguments)
        return b"drawn"

    monkeypatch.setattr("rs_toolkit.sample.generate._photo", draw)

    def interrupt(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_sample(tmp_path / "s", photos=200, progress=interrupt)
    assert not list(tmp_path.iterdir())
    assert 3 <= len(drawn) < 100


def test_empty_working_folder_is_filled_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    monkeypatch.chdir(folder)
    before, beside = folder.stat().st_ino, set()
    generate_sample(
        Path("."), photos=100, progress=lambda *_: beside.update(p.name for p in tmp_path.iterdir())
    )
    # Nothing was made in the parent, which may be read-only or another file system.
    assert beside == {"s"}
    assert folder.stat().st_ino == before
    assert Path.cwd() == folder
    assert set(os.listdir()) == CONTENTS


def test_failing_move_leaves_the_folder_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    moved = []

    def rename(self: Path, target: Path) -> None:
        if self.name == "metadata.csv":
            raise OSError("disk is gone")
        moved.append(self.name)
        os.rename(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="disk is gone"):
        generate_sample(tmp_path, photos=100)
    assert {*moved[:3], "metadata.csv"} == CONTENTS
    assert not list(tmp_path.iterdir())


def test_what_came_or_went_while_drawing_stops_the_run(tmp_path: Path, quick: None) -> None:
    precious = tmp_path / "README.txt"
    with pytest.raises(DataError, match=r"README\.txt appeared"):
        generate_sample(tmp_path, photos=100, progress=lambda *_: precious.write_text("mine"))
    assert [p.read_text() for p in tmp_path.iterdir()] == ["mine"]

    def remove(done: int, total: int) -> None:
        if done == total:
            shutil.rmtree(next((tmp_path / "s").glob(".rs-toolkit-drawing/photos")))

    with pytest.raises(DataError, match="vanished"):
        generate_sample(tmp_path / "s", photos=100, progress=remove)
    assert list(tmp_path.iterdir()) == [precious]


@pytest.mark.parametrize("exists", [False, True])
def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(
    tmp_path: Path, quick: None, exists: bool
) -> None:
    target = tmp_path / "s"
    if exists:
        target.mkdir()
    code = (
        "import os, pathlib, sys; from rs_toolkit.sample import generate_sample;"
        "generate_sample(pathlib.Path(sys.argv[1]), photos=100, progress=lambda *_: os._exit(9))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(target)]).returncode == 9
    assert os.listdir(target) == [".rs-toolkit-drawing"]
    (tmp_path / "mine.txt").write_text("precious")
    generate_sample(target, photos=100)
    assert set(os.listdir(tmp_path)) == {"s", "mine.txt"}
    assert set(os.listdir(target)) == CONTENTS


@pytest.mark.parametrize("arguments", [{"seed": -1}, {"photos": 99}, {"photos": 20_001}])
def test_arguments_out_of_range(tmp_path: Path, arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"sample: .* wanted"):
        generate_sample(tmp_path / "s", **arguments)
