"""Hold back what C and C++ libraries write to the terminal on their own."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator

__all__ = ["held_stderr"]


@contextlib.contextmanager
def held_stderr(passes: Callable[[bytes], bool]) -> Iterator[None]:
    """Hold back standard error, of C code too; lines that ``passes`` accepts follow at the end.

    Parameters
    ----------
    passes
        Called with each line, its newline included, once the block has ended or raised.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            for line in held:
                if passes(line):
                    os.write(2, line)
