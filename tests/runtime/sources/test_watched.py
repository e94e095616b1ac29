"""A folder that fills up while it is watched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from rs_runtime.classify import Classifier
from rs_runtime.results import Failure
from rs_runtime.sources import watched
from rs_runtime.sources.watched import photos_arriving


class Clock:
    """Time that passes only while the watcher sleeps."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def inbox(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(watched, "time", Clock())
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def looks(arriving: Iterator[Path | Failure | None], count: int) -> list[list[str]]:
    """What each of the next looks at the folder gives."""
    found: list[list[str]] = []
    for _ in range(count):
        found.append([])
        while (source := next(arriving)) is not None:
            failed = isinstance(source, Failure)
            found[-1].append(source.problem if failed else source.name)
    return found


def test_a_file_that_grows_is_taken_once_when_it_is_still(inbox) -> None:
    (inbox / "old.jpg").write_bytes(b"x")
    (inbox / "notes.txt").write_bytes(b"x")
    arriving = photos_arriving(inbox)
    assert looks(arriving, 3) == [[], [], ["old.jpg"]]
    grows = inbox / "sub" / "new.jpg"
    grows.parent.mkdir()
    for size in range(1, 5):
        grows.write_bytes(b"x" * size)
        assert looks(arriving, 1) == [[]]
        # Also where looks are rare.
        watched.time.sleep(size)
    assert looks(arriving, 4) == [["new.jpg"], [], [], []]
    # What is changed later is another photo.
    grows.write_bytes(b"other")
    assert looks(arriving, 4) == [[], [], ["new.jpg"], []]


def test_what_cannot_be_read_is_told_once(inbox) -> None:
    (inbox / "raw.cr3").write_bytes(b"x")
    arriving = photos_arriving(inbox)
    *_, [problem] = looks(arriving, 3)
    assert ".cr3 is not supported" in problem
    shutil.rmtree(inbox)
    [[problem], *others] = looks(arriving, 3)
    assert "cannot be read" in problem and str(inbox) in problem and others == [[], []]
    inbox.mkdir()
    (inbox / "a.jpg").write_bytes(b"x")
    assert looks(arriving, 3) == [[], [], ["a.jpg"]]
    shutil.rmtree(inbox)
    assert len(looks(arriving, 1)[0]) == 1


def test_a_folder_that_is_not_there_ends_at_once(inbox) -> None:
    [failure] = photos_arriving(inbox / "absent")
    assert isinstance(failure, Failure) and failure.kind == "folder"
    assert "to watch is not there" in failure.problem


@pytest.mark.parametrize("journal", [False, True])
def test_answers_do_not_wait_for_the_next_photo(onnx_kit, tmp_path, journal) -> None:
    """Also when several are classified at a time, which is from the 17th on."""
    asked = []

    def photos() -> Iterator[Path | None]:
        for number in range(20):
            place = tmp_path / f"{number}.png"
            Image.new("RGB", (8, 8), (number, 0, 0)).save(place)
            asked.append(place)
            yield place
            yield None

    with Classifier.open(onnx_kit, threads=2) as classifier:
        options = {"journal": tmp_path / "run.journal"} if journal else {}
        for number, found in enumerate(classifier.classify_many(photos(), **options)):
            assert found.path == str(tmp_path / f"{number}.png")
            assert len(asked) == number + 1
        assert number == 19


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_a_watch_ends_with_ctrl_c_and_its_journal_keeps_the_answers(
    onnx_kit, tmp_path, monkeypatch
) -> None:
    inbox, journal = tmp_path / "inbox", tmp_path / "run.journal"
    inbox.mkdir()
    fast = "import rs_runtime.sources.watched as w; w._STILL_S = w._PAUSE_S = 0.05\n"
    # Some shells start what runs in the background deaf to Ctrl-C, and that is inherited.
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script = f"{hears}{fast}from rs_runtime.cli import main\nraise SystemExit(main())"
    options = ["--kit", onnx_kit, "--watch", inbox, "--journal", journal, "--top", "1"]
    command = [sys.executable, "-c", script, *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        for name in ("a", "b"):
            Image.new("RGB", (8, 8), "blue").save(inbox / f"{name}.png")
            assert f"{name}.png".encode() in process.stdout.readline()
            process.stdout.readline()
        process.send_signal(2)
        assert process.wait(60) == 130
        assert b"photos with an answer" in process.stderr.read()
    assert len(journal.read_bytes().splitlines()) == 3
    began = time.monotonic()
    done = subprocess.run([*command, "--max-runtime", "1"], capture_output=True, timeout=60)
    # Nothing was left when the time was over.
    assert (done.returncode, done.stdout.count(b".png")) == (0, 2)
    assert time.monotonic() - began >= 1
    assert len(journal.read_bytes().splitlines()) == 3
