"""One folder has one writer at a time, and none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rs_runtime.photos.folder import MARK, is_marked
from rs_toolkit.errors import RunError
from rs_toolkit.folders import claim
from rs_toolkit.folders.claim import claimed, claimed_new

HOLD = """
import sys
from pathlib import Path
from rs_toolkit.folders.claim import claimed, claimed_new
with (claimed_new if sys.argv[2] == "new" else claimed)(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    sys.stdin.readline()
    (folder / "result").write_text("x")
"""


@contextmanager
def another_process(folder: Path, how: str = "given") -> Iterator[subprocess.Popen[str]]:
    """Run a process that has claimed a folder; it writes a file and ends on a line of input."""
    command = [sys.executable, "-c", HOLD, str(folder), how]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        process.claimed = Path(process.stdout.readline().strip())  # type: ignore[attr-defined]
        yield process
        if process.poll() is None:
            process.communicate("\n")


def test_a_folder_that_is_being_written_is_refused_at_once(tmp_path, one_line) -> None:
    with another_process(tmp_path / "r"):
        with pytest.raises(RunError, match="another rs-toolkit command") as caught:
            claimed(tmp_path / "r").__enter__()
        assert str(tmp_path / "r") in one_line(str(caught.value))
    with claimed(tmp_path / "r"):
        pass
    assert (tmp_path / "r" / "result").exists()


def test_without_a_name_the_next_one_is_taken(tmp_path) -> None:
    with (
        another_process(tmp_path / "r", "new") as first,
        another_process(tmp_path / "r", "new") as b,
    ):
        with claimed_new(tmp_path / "r") as folder:
            found = [first.claimed, b.claimed, folder]
        assert found == [tmp_path / name for name in ("r", "r-2", "r-3")]
    assert sorted(os.listdir(tmp_path)) == ["r", "r-2"]


def test_a_name_that_was_given_and_one_that_was_not_never_meet(tmp_path) -> None:
    with another_process(tmp_path / "r"), claimed_new(tmp_path / "r") as folder:
        assert folder == tmp_path / "r-2"


@pytest.mark.parametrize("how", ["given", "new"])
def test_a_killed_process_leaves_no_lock(tmp_path, how) -> None:
    with another_process(tmp_path / "r", how) as process:
        process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()
    assert os.listdir(tmp_path / "r") == [MARK]
    with claimed_new(tmp_path / "r") as folder:
        assert folder == tmp_path / "r"
    assert os.listdir(tmp_path) == []


TAKE = """
import sys
from pathlib import Path
from rs_toolkit.folders.claim import claimed_new
first = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    with claimed_new(first) as folder:
        # What another process wrote would make this fail.
        (folder / "mine").touch(exist_ok=False)
        (folder / "mine").unlink()
with claimed_new(first) as folder:
    (folder / "kept").touch(exist_ok=False)
    print(folder)
"""


def test_many_at_once_each_get_their_own(tmp_path) -> None:
    command = [sys.executable, "-c", TAKE, str(tmp_path / "r")]
    all_ = [subprocess.Popen(command, stdin=-1, stdout=-1, text=True) for _ in range(4)]
    for process in all_:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in all_:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    names = [process.communicate(timeout=120)[0].strip() for process in all_]
    assert [process.returncode for process in all_] == [0] * 4
    assert len(set(names)) == 4
    kept = {path.name for path in tmp_path.iterdir() if (path / "kept").exists()}
    assert kept == {Path(name).name for name in names} == {path.name for path in tmp_path.iterdir()}


def test_what_is_taken_gets_a_number(tmp_path) -> None:
    for name in ("photos.2024", "photos.2024-2", "photos.2024-3"):
        with claimed_new(tmp_path / "photos.2024") as folder:
            assert folder == tmp_path / name
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "file-2").symlink_to(tmp_path / "nowhere")
    with claimed_new(tmp_path / "file") as folder:
        assert folder.name == "file-3"


def test_a_command_that_fails_early_leaves_nothing(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("deep/er/r", "empty"):
        with pytest.raises(RuntimeError), claimed(tmp_path / folder):
            raise RuntimeError
    assert os.listdir(tmp_path) == ["empty"] and not os.listdir(tmp_path / "empty")


def test_only_what_was_empty_is_marked_as_written_by_the_toolkit(tmp_path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "a.jpg").touch()
    for name in ("ours", "theirs"):
        with claimed(tmp_path / name) as folder:
            (folder / "audit.html").touch()
    assert is_marked(tmp_path / "ours") and not is_marked(tmp_path / "theirs")
    assert sorted(os.listdir(tmp_path / "theirs")) == ["a.jpg", "audit.html"]


def test_a_file_system_without_locks_can_be_used(tmp_path, monkeypatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def none(*arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", none)
    with claimed_new(tmp_path / "r") as folder:
        (folder / "result").touch()
        with claimed_new(tmp_path / "r") as other:
            assert other.name == "r-2"


def test_a_folder_removed_while_it_is_claimed_is_made_again(tmp_path, monkeypatch) -> None:
    lock, calls = claim.try_lock, []

    def removed_first(file: int) -> bool:
        calls.append(file)
        if len(calls) == 1:
            (tmp_path / "r" / MARK).unlink()
            (tmp_path / "r").rmdir()
        return lock(file)

    monkeypatch.setattr(claim, "try_lock", removed_first)
    with claimed(tmp_path / "r"):
        assert len(calls) == 2 and is_marked(tmp_path / "r")
