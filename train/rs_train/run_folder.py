"""The files that every training writes into its folder: settings, index, environment."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rs_runtime.errors import reason
from rs_toolkit.config.base import Settings
from rs_toolkit.data.index import write_index
from rs_toolkit.data.photos import Photo
from rs_toolkit.environment import device, machine, versions
from rs_toolkit.errors import ConfigError, DataError, RunError
from rs_toolkit.files import read_json, write_json
from rs_toolkit.progress import Progress

__all__ = [
    "begun",
    "is_finished",
    "resumed",
    "settings_begun",
    "undamaged",
    "write_begun",
    "write_environment",
]

Kind = TypeVar("Kind", bound=Settings)

# Errors from reading damaged files; AttributeError where JSON has a list instead of an object.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError, DataError)

_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_finished(folder: Path, last: str, kind: str, resume: bool, progress: Progress) -> bool:
    """Return whether the training in this folder is finished; if so, tell ``progress``.

    ``last`` is the file that a training writes last, ``kind`` its name in messages: run or filter.
    RunError: the folder holds a training already, finished or not, and ``resume`` is not set.
    """
    if not resume and any((folder / name).exists() for name in ("config.json", last)):
        raise RunError(
            f"{folder}: holds a {kind} already; use --resume {folder}, or choose another --out"
        )
    if finished := (folder / last).exists():
        progress.note(f"{folder} is finished already")
    return finished


def begun(folder: Path) -> dict[str, Any]:
    """Return a training's ``config.json``; RunError: there is none, or it is damaged."""
    if not (folder / "config.json").is_file():
        raise RunError(f"{folder}: nothing to resume (config.json missing); start without --resume")
    with undamaged(folder / "config.json"):
        return dict(read_json(folder / "config.json"))


def write_begun(
    folder: Path, settings: Settings, photos: Sequence[Photo], sources: dict[str, Any]
) -> None:
    """Write the files that a training begins with: the index and, last, ``config.json``.

    ``config.json`` holds the settings, ``sources`` (where photos and weights came from) and the
    number of photos in each split.
    """
    write_index(folder / "index.parquet", photos)
    counts = Counter(photo.split or "left out" for photo in photos)
    begun = {"settings": settings.to_dict(), **sources, "counts": dict(sorted(counts.items()))}
    write_json(folder / "config.json", begun)


def settings_begun(folder: Path, kind: type[Kind]) -> tuple[Kind, Path, Path | None]:
    """Return what a training began with: settings, data folder, folder of photos of no organism.

    RunError: the folder does not belong to a training, or its settings are damaged.
    """
    saved = begun(folder)
    with undamaged(folder / "config.json"):
        settings, data = kind(**saved["settings"]), Path(saved["data"])
        other = saved.get("not_organism")
        return settings, data, None if other is None else Path(other)


@contextmanager
def resumed(folder: Path, settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield what :func:`begun` returns; the ``with`` block may read the folder's other files.

    RunError: the training began with settings other than these, or a file is damaged.
    """
    saved = begun(folder)
    with undamaged(folder):
        before, now = saved["settings"], settings.to_dict()
        changed = [name for name, value in now.items() if before.get(name) != value]
        if changed:
            raise RunError(
                f"{folder}: began with other settings ({', '.join(changed)}); restore them, or "
                "choose another --out"
            )
        yield saved


@contextmanager
def undamaged(path: Path) -> Iterator[None]:
    """Turn any error that reading a training's damaged file raises into a RunError.

    That the disk is full is no damage, and stays an OSError.
    """
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        raise RunError(f"{path}: damaged ({reason(error)}); begin again in a new folder") from None


def write_environment(folder: Path, seed: int, seconds: float) -> None:
    """Write ``environment.json``: machine, device, package versions, seed and running time."""
    found = {"machine": machine(), "device": device(), "versions": versions(), "seed": seed}
    write_json(folder / "environment.json", {**found, "seconds": round(seconds, 1)})
