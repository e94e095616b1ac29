"""Progress of long work: shown on a terminal with the package rich, silent in tests."""

from __future__ import annotations

from typing import Any, Self

from rs_runtime.console import printable

__all__ = ["ConsoleProgress", "Progress"]


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
    """Progress bars and notes on standard error; only notes where that is not a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._bars.stop()

    def note(self, text: str) -> None:
        # A file's name may hold what a terminal takes for a command.
        self._console.print(printable(text), markup=False, soft_wrap=True)

    def update(self, title: str, done: int, total: int, text: str = "") -> None:
        if title not in self._tasks:
            self._tasks[title] = self._bars.add_task(title, total=total, text=text)
        self._bars.update(self._tasks[title], completed=done, total=total, text=text)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(title))
