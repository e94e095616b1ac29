"""Keep what C and C++ libraries write to standard error off a command's terminal.

Settings of the engines silence most messages, but not all.  LiteRT writes "INFO: Created TensorFlow
Lite XNNPACK delegate for CPU." once per process, and ai-edge-litert 2.3 has no setting for its log
level.  TensorFlow 2.21 writes some lines whatever TF_CPP_MIN_LOG_LEVEL says.  Only redirecting file
descriptor 2 drops these lines, and that affects the whole process.  So only our commands do it; a
program that uses this package as a library sees the lines.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

from rs_runtime.streams import standard_streams

__all__ = ["command_process", "quiet_libraries", "write_stderr"]


class _State:
    lock = threading.Lock()
    owned = False
    """Whether a command of ours runs in this process."""
    users = 0
    """How many blocks of :func:`quiet_libraries` are running."""
    saved = -1
    """A copy of the real descriptor 2 while such blocks run."""


@contextlib.contextmanager
def command_process() -> Iterator[None]:
    """Run a whole command in the block; only there does :func:`quiet_libraries` have an effect.

    The block's standard streams, and what is raised: :func:`rs_runtime.streams.standard_streams`.
    """
    before, _State.owned = _State.owned, True
    try:
        with standard_streams():
            yield
    finally:
        _State.owned = before


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drop what is written to file descriptor 2 within the block, if one of our commands runs.

    Errors still arrive as Python exceptions.  Several threads may be in such a block at a time.
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


def write_stderr(text: str) -> None:
    """Write to the real standard error, also while another thread keeps libraries quiet.

    What cannot be written is dropped: there is no other place to report it.
    """
    with _State.lock, contextlib.suppress(OSError):
        if _State.users:
            encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
            os.write(_State.saved, text.encode(encoding, "backslashreplace"))
            return
        sys.stderr.write(text)
        sys.stderr.flush()
