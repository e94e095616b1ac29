"""The standard streams of a command: closed ones, and ones that cannot be written."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from rs_runtime.errors import OutputClosedError, OutputError

__all__ = ["standard_streams"]


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Run a whole command in the block; what it cannot write to standard error is dropped.

    Standard streams that are closed are opened on the null device.  Otherwise the next file that
    is opened, such as a kit, could get descriptor 2, and C code would write its messages into it.

    Raises
    ------
    OutputClosedError
        The reader of standard output has closed it.
    OutputError
        Standard output is closed, or what was written to it could not be.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    closed = sys.stdout is None
    output = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    complaints = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = _Output(output), _Complaints(complaints)
    try:
        if closed:
            raise OutputError("standard output is closed; to drop the output, send it to /dev/null")
        yield
        sys.stdout.flush()
    except SystemExit as stop:
        if not stop.code:
            sys.stdout.flush()
        raise
    finally:
        sys.stdout, sys.stderr = output, complaints
        _release(output)
        _release(complaints)


def _release(stream: Any) -> None:
    """Flush a stream; if that fails, let it write to the null device, as Python flushes at exit."""
    try:
        stream.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


class _Stream:
    """A stream of text whose errors are handled; all else is that of ``stream``."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._handled():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._handled():
            self._stream.flush()

    def _handled(self) -> contextlib.AbstractContextManager[Any]:
        raise NotImplementedError


class _Output(_Stream):
    """Standard output; what cannot be written is an error of ours."""

    @contextlib.contextmanager
    def _handled(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError as error:
            raise OutputClosedError("the output was closed") from error
        except OSError as error:
            problem = f"the output cannot be written: {error.strerror}; is the disk full?"
            raise OutputError(problem) from error


class _Complaints(_Stream):
    """Standard error; where it cannot be written, problems cannot be reported anywhere."""

    def _handled(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.suppress(OSError)
