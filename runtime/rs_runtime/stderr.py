"""Keep what C and C++ libraries write to standard error off a command's terminal.

Where they can, the engines are kept quiet by their own settings.  Two cannot: LiteRT writes "INFO:
Created TensorFlow Lite XNNPACK delegate for CPU." once per process, and ai-edge-litert 2.3 has
neither a variable nor a function that sets its least severity; TensorFlow 2.21 writes some lines
whatever TF_CPP_MIN_LOG_LEVEL says.  What remains is to redirect file descriptor 2, and that belongs
to the whole process.  So a program that uses this package as a library sees those lines; only our
commands, which own their process, drop them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

__all__ = ["command_process", "quiet_libraries"]


class _State:
    lock = threading.Lock()
    owned = False
    """Whether a command of ours runs in this process."""
    users = 0
    """How many blocks of :func:`quiet_libraries` are running."""
    saved = -1
    """The real standard error, while there are any."""


@contextlib.contextmanager
def command_process() -> Iterator[None]:
    """Let :func:`quiet_libraries` work within the block, which is a whole command.

    Closed standard streams lead to the null device from now on: else the next file that is opened,
    such as a kit, would get the number of standard error and what C code writes there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    before, _State.owned = _State.owned, True
    try:
        yield
    finally:
        _State.owned = before


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drop what is written to file descriptor 2 within the block, if this process is a command's.

    What matters comes as a Python exception.  Several threads may be in such a block.
    """
    if not _State.owned:
        yield
        return
    with _State.lock:
        if _State.users == 0:
            sys.stderr.flush()
            _State.saved = os.dup(2)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            os.close(null)
        _State.users += 1
    try:
        yield
    finally:
        with _State.lock:
            _State.users -= 1
            if _State.users == 0:
                sys.stderr.flush()
                os.dup2(_State.saved, 2)
                os.close(_State.saved)
