"""How far a long run has come, now and then, on standard error."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from rs_runtime.console import complain, counted
from rs_runtime.stderr import write_stderr

__all__ = ["Progress", "duration_text"]

# Shorter runs, and those of fewer photos, show nothing.
_FIRST_S, _FEWEST = 10.0, 10
_ON_TERMINAL_S, _ELSEWHERE_S = 1.0, 60.0
# The rate is that of the last lines shown: photos from a journal pass much faster than others.
_LINES = 30


class Progress:
    """Counts photos, and says how many are done and when the others will be.

    On a terminal one line is renewed, unless answers are printed there; elsewhere there is a line
    a minute.

    Parameters
    ----------
    program
        Begins each line.
    count
        Returns how many photos there are, None if nobody can know; called in a thread of its own,
        once, if at all.
    clock
        Returns seconds.
    """

    def __init__(
        self,
        program: str,
        count: Callable[[], int | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._program, self._count, self._clock = program, count, clock
        self._done = 0
        self._total: int | None = None
        self._counting: threading.Thread | None = None
        self._in_place = sys.stderr.isatty() and not sys.stdout.isatty()
        self._shown = False
        now = clock()
        self._due = now + _FIRST_S
        self._past = deque([(now, 0)], maxlen=_LINES)

    def step(self) -> None:
        """Count one more photo, and show a line if one is due."""
        self._done += 1
        now = self._clock()
        if now < self._due or self._done < _FEWEST:
            return
        self._due = now + (_ON_TERMINAL_S if self._in_place else _ELSEWHERE_S)
        if self._counting is None:
            self._counting = threading.Thread(target=self._find_total, daemon=True)
            self._counting.start()
        text = self._text(now)
        self._past.append((now, self._done))
        if self._in_place:
            write_stderr(f"\r{self._program}: {text}\x1b[K")
            self._shown = True
        else:
            complain(self._program, text)

    def clear(self) -> None:
        """Remove the line from the terminal, before another one is printed."""
        if self._shown:
            write_stderr("\r\x1b[K")
            self._shown = False

    def _find_total(self) -> None:
        # Of a disk that was pulled, the run itself reports each photo.
        with contextlib.suppress(OSError):
            self._total = self._count()

    def _text(self, now: float) -> str:
        before, done = self._past[0]
        rate = (self._done - done) / max(now - before, 1e-9)
        if self._total is None:
            return f"{counted(self._done, 'photo')}, {rate:.3g} a second"
        left = max(0, self._total - self._done) / max(rate, 1e-9)
        share = self._done / max(self._total, self._done)
        return (
            f"{self._done:,} of {self._total:,} photos ({share:.0%}), {rate:.3g} a second, "
            f"about {duration_text(left)} left"
        )


def duration_text(seconds: float) -> str:
    """Return a duration as people say it: ``40 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
