"""Small arrays that are expensive to compute, one file a photo, known by the photo's content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_toolkit.files import atomic_write
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo

__all__ = ["known_arrays", "remembered_arrays"]


def remembered_arrays(
    photos: list[Photo],
    folder: Path,
    shape: tuple[int, ...],
    compute: Callable[[list[Photo]], NDArray[np.float32]],
    progress: Progress,
    title: str,
    batch_size: int = 32,
) -> NDArray[np.float32]:
    """Return one array a photo, shape (n, *shape), computing those that are not on disk.

    A batch is on disk as soon as it is computed, so that an interrupted pass goes on where it
    stopped and a second one computes nothing.  Files appear whole or not at all, and damaged
    ones are made again.

    Parameters
    ----------
    photos
        Indexed ones.
    folder
        Named by all that the arrays depend on, apart from the photo.
    shape
        Of one photo's array.
    compute
        From 1 to ``batch_size`` photos to their arrays, shape (len, *shape).
    progress, title
        Where and under what name the work is shown.
    batch_size
        Most photos a call.
    """
    found = np.empty((len(photos), *shape), np.float32)
    missing = []
    for row, photo in enumerate(photos):
        saved = _read(_file(folder, photo))
        if saved is None or saved.shape != shape:
            missing.append(row)
        else:
            found[row] = saved
    for start in range(0, len(missing), batch_size):
        rows = missing[start : start + batch_size]
        found[rows] = compute([photos[row] for row in rows])
        for row in rows:
            with atomic_write(_file(folder, photos[row])) as path, path.open("wb") as file:
                np.save(file, found[row], allow_pickle=False)
        progress.update(title, start + len(rows), len(missing))
    return found


def known_arrays(photos: list[Photo], folder: Path) -> NDArray[np.float32] | None:
    """Return what :func:`remembered_arrays` left in a folder, shape (n, *shape).

    None where that is not known of every photo, or there is no photo.
    """
    found: list[NDArray[np.float32]] = []
    for photo in photos:
        saved = _read(_file(folder, photo))
        if saved is None or (found and saved.shape != found[0].shape):
            return None
        found.append(saved)
    return np.stack(found) if found else None


def _file(folder: Path, photo: Photo) -> Path:
    return folder / photo.sha256[:2] / f"{photo.content}.npy"


def _read(file: Path) -> NDArray[np.float32] | None:
    try:
        saved = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    sound = isinstance(saved, np.ndarray) and saved.dtype == np.float32
    return saved if sound and np.isfinite(saved).all() else None
