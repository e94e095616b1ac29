"""``rs-toolkit cache``: how large the cache is, and making it smaller."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rs_toolkit.data.cache import prune_cache, survey_cache
from rs_toolkit.errors import ConfigError

__all__ = ["app", "limit_cache"]

app = typer.Typer(
    help="Show or prune the cache of decoded photos and other results.", no_args_is_help=True
)

_GB = 1e9


@app.command()
def info() -> None:
    """Print what the cache holds, the largest first.

    Exit codes: 0 printed, 2 there is no home folder and no RS_CACHE.
    """
    folder = _folder()
    held = survey_cache(folder)
    print(f"{folder}: {sum(item.bytes for item in held) / _GB:.2f} GB")
    for item in held:
        used = f"used {item.unused_days:.0f} days ago" if item.unused_days >= 1 else "used today"
        print(f"  {item.bytes / _GB:8.2f} GB  {item.files:9,} files  {item.kind}, {used}")


@app.command()
def prune(
    max_gb: Annotated[
        float | None, typer.Option(help="Delete what was unused the longest, down to this size.")
    ] = None,
    unused_days: Annotated[
        float | None, typer.Option(help="Delete what was not used for so many days.")
    ] = None,
) -> None:
    """Delete what was not used for long; everything in the cache can be made again.

    RS_CACHE_GB does the same as --max-gb after each command of rs-toolkit.

    Exit codes: 0 pruned, 2 wrong usage, or a file that cannot be deleted.
    """
    most = None if max_gb is None else _bytes(max_gb, "--max-gb")
    done = prune_cache(_folder(), most, unused_days)
    print(f"deleted {done.files:,} files, {done.bytes / _GB:.2f} GB; {done.left / _GB:.2f} GB left")


def limit_cache() -> None:
    """Prune the cache to ``$RS_CACHE_GB``, if that is set; raises ConfigError if it is no size."""
    if text := os.environ.get("RS_CACHE_GB"):
        prune_cache(_folder(), _bytes(text, "RS_CACHE_GB"))


def _folder() -> Path:
    # It loads NumPy, which --help does without.
    from rs_toolkit.data.photos import default_cache_dir

    return default_cache_dir()


def _bytes(gigabytes: str | float, name: str) -> int:
    try:
        most = float(gigabytes)
    except ValueError:
        most = -1.0
    if not 0 <= most < 1e9:
        raise ConfigError(f"{name} must be a number of gigabytes, 0 or more, got {gigabytes!r}")
    return int(most * _GB)
