"""From a path to indexed photos."""

from __future__ import annotations

from pathlib import Path

from rs_toolkit.data.index import build_index
from rs_toolkit.data.photos import Dataset, Photo, PhotoCache
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.progress import Progress

__all__ = ["open_data"]


def open_data(
    data: Path, cache: PhotoCache, progress: Progress
) -> tuple[Dataset, tuple[Photo, ...]]:
    """Read and index a data set; its notes are shown.  Return it, and its indexed photos.

    Raises as :func:`rs_toolkit.data.readers.read_dataset` does.
    """
    dataset = read_dataset(data)
    for note in dataset.notes:
        progress.note(note)
    return dataset, build_index(
        dataset, cache, lambda done, total: progress.update("index photos", done, total)
    )
