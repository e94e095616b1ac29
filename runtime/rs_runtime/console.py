"""What the runtime's commands share: one-line errors, and text that a terminal does not obey."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from rs_runtime.errors import RuntimeKitError

__all__ = ["OutputError", "Parser", "positive", "printable", "say", "share"]

_WRONG_USAGE = 2


class OutputError(RuntimeKitError):
    """Standard output cannot be written."""


def say(text: str) -> None:
    """Print to standard output, at once.

    Raises
    ------
    OutputError
        It cannot be written.
    BrokenPipeError
        Its reader has closed it.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"the output cannot be written: {error.strerror}; is the disk full?"
        ) from error


def printable(text: str) -> str:
    """Escape what a terminal would obey, or its encoding lacks."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    encoding = sys.stdout.encoding or "utf-8"
    return safe.encode(encoding, "backslashreplace").decode(encoding)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(_WRONG_USAGE, f"{self.prog}: {printable(message)}; see {self.prog} --help\n")


def positive(text: str) -> int:
    """Return an option's text as an integer from 1 to 9999.

    Raises
    ------
    argparse.ArgumentTypeError
        It is none.
    """
    value = int(text) if text.isdecimal() and len(text) < 5 else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be an integer from 1 to 9999, got {text!r}")
    return value


def share(text: str) -> float:
    """Return an option's text as a number from 0 to 1.

    Raises
    ------
    argparse.ArgumentTypeError
        It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value
