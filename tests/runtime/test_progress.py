"""Lines that say how far a long run has come."""

from __future__ import annotations

import sys
import threading

import pytest

from rs_runtime.progress import Progress, duration_text


class Clock:
    """A clock that moves when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def run(progress: Progress, clock: Clock, photos: int, seconds: float) -> None:
    for _ in range(photos):
        clock.now += seconds
        progress.step()


@pytest.mark.parametrize(("photos", "seconds"), [(90, 0.1), (9, 30.0)])
def test_short_runs_and_few_photos_show_nothing(capfd, photos, seconds) -> None:
    clock = Clock()
    run(Progress("rs-classify", lambda: pytest.fail("counted"), clock), clock, photos, seconds)
    assert capfd.readouterr().err == ""


def test_a_line_now_and_then_where_there_is_no_terminal(capfd) -> None:
    clock, counted = Clock(), threading.Event()
    progress = Progress("rs-classify", lambda: counted.wait(10) and 2000, clock)
    run(progress, clock, 100, 0.25)
    counted.set()
    progress._counting.join(10)
    run(progress, clock, 900, 0.25)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[0] == "rs-classify: 40 photos, 4 a second"
    assert lines[1] == ("rs-classify: 280 of 2,000 photos (14%), 4 a second, about 7 min left")


def test_photos_of_a_journal_do_not_make_the_rest_look_fast(capfd) -> None:
    clock = Clock()
    progress = Progress("rs-classify", lambda: 101_000, clock)
    run(progress, clock, 100_000, 0.0)
    run(progress, clock, 1, 20.0)
    progress._counting.join(10)
    run(progress, clock, 249, 20.0)
    last = capfd.readouterr().err.splitlines()[-1]
    assert "0.05 a second" in last and last.endswith("about 4 h 10 min left")


def test_photos_that_cannot_be_counted_are_no_traceback(capfd, monkeypatch) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)

    def fails() -> int:
        raise OSError("the disk was pulled")

    clock = Clock()
    progress = Progress("rs-classify", fails, clock)
    run(progress, clock, 100, 0.5)
    progress._counting.join(10)
    run(progress, clock, 200, 0.5)
    lines = capfd.readouterr().err.splitlines()
    assert raised == [] and lines[-1] == "rs-classify: 260 photos, 2 a second"


def test_one_line_is_renewed_on_a_terminal(capfd, monkeypatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    clock = Clock()
    progress = Progress("rs-classify", lambda: 50, clock)
    run(progress, clock, 12, 1.0)
    progress.clear()
    progress.clear()
    text = capfd.readouterr().err
    assert text.count("\r") == 4 and "\n" not in text and text.endswith("\r\x1b[K")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (11100, "3 h 05 min")],
)
def test_durations(seconds, text) -> None:
    assert duration_text(seconds) == text
