"""Ctrl-C of a command of ours: it always ends, and soon.

Python raises KeyboardInterrupt between any two instructions of the main thread.  If these are part
of an import, or of a lock that Python's own library takes, the lock may stay taken.  A thread that
needs it then waits for ever, and the command for that thread.  An import that fails so may also end
as another error.  So where a process runs nothing but our command, Ctrl-C raises nothing:

- While the command starts, which is when it imports, the process ends at once.  Nothing is lost.
- Later it takes no more photos, and ends with the answers of those that it has taken.
- Pressed again, it ends the process at once.  A journal keeps its answers, and files that are not
  complete stay behind under their temporary names, as after ``kill -9``.
"""

from __future__ import annotations

import os
import signal
import threading

__all__ = ["INTERRUPTED", "begin_work", "hear_interrupts", "interrupted"]

INTERRUPTED = 130
"""The exit code: 128 + the signal's number, as shells have it."""


class _State:
    works = False
    """Whether Ctrl-C is to be waited for."""
    pressed = False


def hear_interrupts() -> None:
    """Let Ctrl-C end this process, which must run nothing else.

    Nothing changes where Ctrl-C is ignored, as of what a shell runs in the background, or handled
    by somebody else.
    """
    own = threading.current_thread() is threading.main_thread()
    if own and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _heard)


def begin_work() -> None:
    """Let the next Ctrl-C only be noted: see :func:`interrupted`."""
    _State.works = True


def interrupted() -> bool:
    """Return whether Ctrl-C was pressed since work began."""
    return _State.pressed


def _heard(*_: object) -> None:
    # It runs between any two instructions, so it must not take a lock, such as to print.
    if _State.pressed or not _State.works:
        os._exit(INTERRUPTED)
    _State.pressed = True
