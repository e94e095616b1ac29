"""Conversions without the output of converters; a failure becomes one ExportError."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator

from rs_runtime.stderr import quiet_libraries
from rs_toolkit.errors import ExportError

__all__ = ["converting"]


@contextlib.contextmanager
def converting(name: str) -> Iterator[None]:
    """Drop a conversion's logs, warnings and prints; turn its failure into one line.

    Raises
    ------
    ExportError
        The block raised anything but ExportError, KeyboardInterrupt or SystemExit.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        # In a command, quiet_libraries also drops what C++ writes to standard error.
        with (
            quiet_libraries(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    except (ExportError, MemoryError):
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = (lines[0] if lines else type(error).__name__)[:300]
        raise ExportError(f"{name}: the conversion failed ({reason}); leave it out") from error
    finally:
        logging.disable(level)
