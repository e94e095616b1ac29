"""How commands name the folders that they write where ``--out`` is left out."""

from __future__ import annotations

from pathlib import Path

__all__ = ["free_folder", "output_folder"]


def output_folder(parent: Path, data: Path) -> Path:
    """Return ``parent/NAME``, where a command writes what it made of a data set.

    A folder gives its whole name, ``photos.2024`` too; a file (.csv, .json, .parquet, .zip) its
    name without the suffix.
    """
    path = data.resolve()
    return parent / (path.stem if path.is_file() else path.name)


def free_folder(parent: Path, data: Path) -> Path:
    """Return :func:`output_folder`, with a number behind it, from 2, where that is taken."""
    first = folder = output_folder(parent, data)
    number = 2
    while folder.exists():
        folder, number = first.with_name(f"{first.name}-{number}"), number + 1
    return folder
