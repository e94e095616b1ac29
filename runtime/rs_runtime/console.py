"""Shared by the runtime's commands: one-line errors, and output without control characters."""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from rs_runtime.errors import OutputClosedError, RuntimeKitError
from rs_runtime.interrupts import INTERRUPTED
from rs_runtime.stderr import command_process, write_stderr

__all__ = [
    "Parser",
    "complain",
    "counted",
    "duration",
    "positive",
    "printable",
    "run_command",
    "say",
    "share",
    "system_problem",
]

_UNUSABLE = 2


def run_command(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    run: Callable[[argparse.Namespace], int],
) -> int:
    """Run a command and return its exit code; an error is one line on standard error.

    The code is what ``run`` returns; 2 after wrong usage or an error; 130 after Ctrl-C; 141 if the
    reader of the output has closed it.
    """
    try:
        # Pillow warns about odd metadata of photos that can be used all the same.
        with command_process(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run(parser.parse_intermixed_args(argv))
    except SystemExit as stop:
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OutputClosedError as error:
        return error.exit_code
    except RuntimeKitError as error:
        complain(parser.prog, str(error))
    except MemoryError:
        complain(parser.prog, "not enough memory; choose a smaller variant")
    except OSError as error:
        complain(parser.prog, system_problem(error))
    return _UNUSABLE


def system_problem(error: OSError) -> str:
    """Return what the system refused, where, and what can be done about it."""
    where = f"{str(error.filename)!r}: " if error.filename else ""
    problem = f"{where}{error.strerror or error}"
    # The error of tempfile lists the folders that it tried.
    if "temporary directory" in problem:
        return f"{problem}; make room in one of them, or set TMPDIR to another folder"
    return f"{problem}; check the path, permissions and disk space"


def complain(program: str, problem: str) -> None:
    """Print one line to standard error."""
    write_stderr(f"{program}: {printable(problem)}\n")


def say(text: str) -> None:
    """Print to standard output and flush it; raises OutputError within a command."""
    print(text, flush=True)


def counted(number: int, word: str) -> str:
    """Return a number of things in words, such as ``1 photo`` or ``2,000 photos``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """Escape control characters, and characters that the terminal's encoding lacks."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    encoding = sys.stdout.encoding or "utf-8"
    return safe.encode(encoding, "backslashreplace").decode(encoding)


class _Formatter(argparse.HelpFormatter):
    """argparse's own, which imports shutil for the width of the terminal at each argument."""

    def __init__(self, prog: str) -> None:
        width = os.environ.get("COLUMNS", "")
        try:
            columns = int(width) if width.isdecimal() else os.get_terminal_size().columns
        except (OSError, ValueError):
            columns = 0
        super().__init__(prog, width=(columns or 80) - 2)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, formatter_class=_Formatter)

    def error(self, message: str) -> NoReturn:
        self.exit(_UNUSABLE, f"{self.prog}: {printable(message)}; see {self.prog} --help\n")

    def add_model_options(self) -> None:
        """Add the options that say which model runs, and on how many threads."""
        self.add_argument("--variant", metavar="NAME", help="which model of the kit to run")
        help = "CPU threads (default: all cores, at most 16; for a few photos, at most 4)"
        self.add_argument("--threads", type=positive, metavar="N", help=help)


def positive(text: str) -> int:
    """Return an option's text as an integer from 1 to 9999, or raise ArgumentTypeError."""
    value = int(text) if text.isdecimal() and len(text) < 5 else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be an integer from 1 to 9999, got {text!r}")
    return value


def share(text: str) -> float:
    """Return an option's text as a number from 0 to 1, or raise ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value


def duration(text: str) -> float:
    """Return an option's text, such as 30m or 1h30m, in seconds, or raise ArgumentTypeError."""
    match = re.fullmatch(r"(?:(\d{1,4})h)?(?:(\d{1,4})m)?(?:(\d{1,6})s?)?", text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    if not (hours or minutes or seconds):
        raise argparse.ArgumentTypeError(f"must be a time such as 90s, 30m or 1h30m, got {text!r}")
    return 3600.0 * hours + 60 * minutes + seconds
