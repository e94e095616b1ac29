"""What a cold start will need, made in a thread of its own while other things are loaded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Ahead"]

T = TypeVar("T")


class Ahead(Generic[T]):
    """A task that runs in a thread of its own; ``key`` says which it is."""

    def __init__(self, key: object, task: Callable[[], T]) -> None:
        self._key, self._task = key, task
        self._found: list[T] = []
        self._error: BaseException | None = None
        # It must not keep a command alive that has failed meanwhile.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found.append(self._task())
        except BaseException as error:
            self._error = error

    def take(self, key: object) -> T | None:
        """Return the result, once, or raise the task's error; None for another key, and later."""
        if key != self._key:
            return None
        self._key = None
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found.pop()
