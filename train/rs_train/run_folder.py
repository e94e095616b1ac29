"""A folder that a training writes: may it begin there, and what did it begin with?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rs_toolkit.config.base import Settings
from rs_toolkit.errors import ConfigError, DataError, RunError
from rs_toolkit.files import read_json
from rs_toolkit.progress import Progress

__all__ = ["begun", "is_finished", "require_same", "undamaged"]

# AttributeError: JSON of another shape.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError, DataError)


def is_finished(folder: Path, last: str, kind: str, resume: bool, progress: Progress) -> bool:
    """Return whether a training in this folder has ended.

    Parameters
    ----------
    folder
        What the training writes.
    last
        The file that it writes last.
    kind
        What it makes, for messages: run, filter.
    resume
        Whether to continue one that is there.
    progress
        Told where there is nothing left to do.

    Raises
    ------
    RunError
        Something is there, and is not to be continued.
    """
    if not resume and any((folder / name).exists() for name in ("config.json", last)):
        raise RunError(
            f"{folder}: holds a {kind} already; use --resume {folder}, or choose another --out"
        )
    if finished := (folder / last).exists():
        progress.note(f"{folder} is finished already")
    return finished


def begun(folder: Path) -> dict[str, Any]:
    """Return what ``config.json`` of an interrupted training says.

    Raises
    ------
    RunError
        There is none, or it is damaged.
    """
    if not (folder / "config.json").is_file():
        raise RunError(f"{folder}: nothing to resume (config.json missing); start without --resume")
    with undamaged(folder / "config.json"):
        return dict(read_json(folder / "config.json"))


def require_same(folder: Path, before: dict[str, Any], settings: Settings) -> None:
    """Raise RunError where a training began with other settings than these."""
    changed = [name for name, value in settings.to_dict().items() if before.get(name) != value]
    if changed:
        raise RunError(
            f"{folder}: began with other settings ({', '.join(changed)}); choose another --out"
        )


@contextmanager
def undamaged(path: Path) -> Iterator[None]:
    """Turn what reading a damaged file of a training raises into one RunError."""
    try:
        yield
    except _DAMAGE as error:
        raise RunError(f"{path}: damaged ({error}); begin again in a new folder") from None
