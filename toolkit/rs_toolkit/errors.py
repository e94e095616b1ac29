"""The errors that the toolkit, training and export raise on purpose.

Each message is one line: what, where, got, wanted, and the fix.  The command line prints it
and exits with ``exit_code``; a traceback that a user sees is a bug.
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
]


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
    """A package of an optional extra is needed and not installed."""


class WeightsError(ToolkitError):
    """Pretrained weights are missing or damaged, or do not fit the model."""


class RunError(ToolkitError):
    """A run or filter folder is missing, incomplete, damaged, or made with other settings."""


class ExportError(ToolkitError):
    """A conversion failed, or its result did not pass the checks."""
