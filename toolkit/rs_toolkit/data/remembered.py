"""Arrays that are expensive to compute, kept on disk by the content of what they depend on.

Files appear whole or not at all, and damaged ones are made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.files import atomic_write
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    from rs_toolkit.data.photos import Photo

__all__ = ["known_arrays", "read_array", "remembered", "remembered_arrays", "write_array"]


def read_array(path: Path) -> NDArray[Any] | None:
    """Return the array of a ``.npy`` file; None where the file is missing or damaged."""
    try:
        with path.open("rb") as file:
            # Not np.load, which opens archives too.
            return np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a ``.npy`` file, atomically."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def remembered(
    folder: Path,
    kind: str,
    inputs: Iterable[str | NDArray[Any] | None],
    compute: Callable[[], NDArray[Any]],
) -> NDArray[Any]:
    """Return ``compute()``, or what it returned earlier for the same inputs.

    ``results/<kind>/<sha256 of the inputs>.npy`` below ``folder`` holds the result.  ``kind`` says
    what is computed, with a number that is raised whenever ``compute`` would return something else
    than before; ``inputs`` are all that the result depends on.
    """
    digest = hashlib.sha256()
    for item in inputs:
        if isinstance(item, np.ndarray):
            digest.update(f"{item.dtype.str}{item.shape}".encode())
            digest.update(np.ascontiguousarray(item).tobytes())
        else:
            text = repr(item).encode()
            digest.update(f"{len(text)}:".encode() + text)
    path = folder / "results" / kind / f"{digest.hexdigest()}.npy"
    found = read_array(path)
    if found is None:
        found = compute()
        write_array(path, found)
    return found


def remembered_arrays(
    photos: list[Photo],
    folder: Path,
    shape: tuple[int, ...],
    compute: Callable[[list[Photo]], NDArray[np.float32]],
    progress: Progress,
    title: str,
    batch_size: int,
) -> NDArray[np.float32]:
    """Return one array per indexed photo, shape (n, *shape), computing those not on disk.

    Each photo has a file of its own, written as soon as its batch is computed, so that an
    interrupted pass goes on where it stopped.

    Parameters
    ----------
    folder
        Named by all that the arrays depend on, apart from the photo.
    compute
        From 1 to ``batch_size`` photos to their arrays, shape (len, *shape).
    """
    found = np.empty((len(photos), *shape), np.float32)
    missing = []
    for row, photo in enumerate(photos):
        saved = _known(folder, photo)
        if saved is not None and saved.shape == shape:
            found[row] = saved
        else:
            missing.append(row)
    for start in range(0, len(missing), batch_size):
        rows = missing[start : start + batch_size]
        found[rows] = compute([photos[row] for row in rows])
        for row in rows:
            write_array(_file(folder, photos[row]), found[row])
        progress.update(title, start + len(rows), len(missing))
    return found


def known_arrays(photos: list[Photo], folder: Path) -> NDArray[np.float32] | None:
    """Return what :func:`remembered_arrays` left in a folder, shape (n, *shape).

    None where that is not known of every photo, or there is no photo.
    """
    found = [saved for photo in photos if (saved := _known(folder, photo)) is not None]
    same = len(found) == len(photos) and len({saved.shape for saved in found}) == 1
    return np.stack(found) if same else None


def _file(folder: Path, photo: Photo) -> Path:
    return folder / photo.sha256[:2] / f"{photo.content}.npy"


def _known(folder: Path, photo: Photo) -> NDArray[np.float32] | None:
    saved = read_array(_file(folder, photo))
    sound = saved is not None and saved.dtype == np.float32 and np.isfinite(saved).all()
    return saved if sound else None
