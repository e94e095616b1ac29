"""Everything the toolkit, training and export raise on purpose.

Each message is one line: what, where, got, wanted, and the fix.  The command line prints it
and exits with ``exit_code``; a traceback is a bug.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "DataError",
    "ExportError",
    "MetadataError",
    "MissingPackageError",
    "RunError",
    "ToolkitError",
    "WeightsError",
    "reason",
]


def reason(error: Exception) -> str:
    """Return what an error says, in one line of at most 200 characters, to be quoted in another."""
    return " ".join(str(error).split())[:200] or type(error).__name__


class ToolkitError(Exception):
    """Base of every error that the toolkit raises on purpose."""

    exit_code = 2


class ConfigError(ToolkitError):
    """A setting is unknown, malformed or out of range."""


class DataError(ToolkitError):
    """The data set as a whole cannot be used."""


class MetadataError(DataError):
    """A row or a column of a metadata file is wrong."""


class MissingPackageError(ToolkitError):
    """An optional extra is needed and not installed."""


class WeightsError(ToolkitError):
    """Pretrained weights cannot be had, or do not fit the backbone."""


class RunError(ToolkitError):
    """A run folder is missing, incomplete, or was made with other settings."""


class ExportError(ToolkitError):
    """A conversion failed, or its result was refused."""
