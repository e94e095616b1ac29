"""What is known of this installation: its version, and the folder for what may be made again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder", "installed_version"]


def installed_version() -> str | None:
    """Return the version of rs-toolkit; None where it runs without being installed."""
    # Its import takes longer than most of a cold start's.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("rs-toolkit")
    except PackageNotFoundError:
        return None


def cache_folder() -> Path | None:
    """Return ``$RS_CACHE``, or ``~/.cache/rs-toolkit``; None: no home folder is known."""
    # Not every shell replaces ~ in a variable.
    folder = os.path.expanduser(os.environ.get("RS_CACHE") or "~/.cache/rs-toolkit")
    return None if folder.startswith("~") else Path(folder)
