"""Progress of long work: shown on a terminal with the package rich, silent in tests."""

from __future__ import annotations

import time
from typing import Any, Self

from rs_runtime.console import printable

__all__ = ["ConsoleProgress", "Progress", "duration"]

_PAUSE = 60.0  # seconds between two lines


def duration(seconds: float) -> str:
    """Return a number of seconds as people say it: 45 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


class Progress:
    """Progress that shows nothing, and the base class of progress that is shown."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        return None

    def note(self, text: str) -> None:
        """Show a line that stays on the screen."""

    def update(self, title: str, done: int, total: int, text: str = "") -> None:
        """Show that ``done`` of ``total`` steps of ``title`` are finished."""


class ConsoleProgress(Progress):
    """Progress bars and notes on standard error; where that is no terminal, a line each minute."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[text]}", markup=False),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}
        # Where lines are printed: when the last was, and of each title its beginning.
        self._said = time.monotonic()
        self._begun: dict[str, tuple[float, int]] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._bars.stop()

    def note(self, text: str) -> None:
        # A file's name may hold what a terminal takes for a command.
        self._console.print(printable(text), markup=False, soft_wrap=True)

    def update(self, title: str, done: int, total: int, text: str = "") -> None:
        if not self._console.is_terminal:
            self._print_now_and_then(title, done, total, text)
            return
        if title not in self._tasks:
            self._tasks[title] = self._bars.add_task(title, total=total, text=text)
        self._bars.update(self._tasks[title], completed=done, total=total, text=text)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(title))

    def _print_now_and_then(self, title: str, done: int, total: int, text: str) -> None:
        now = time.monotonic()
        started, before = self._begun.setdefault(title, (now, done))
        if done >= total:
            del self._begun[title]
        elif now >= self._said + _PAUSE and done > before:
            self._said = now
            left = duration((total - done) * (now - started) / (done - before))
            self.note(f"{title}: {done}/{total}, about {left} left  {text}".rstrip())
