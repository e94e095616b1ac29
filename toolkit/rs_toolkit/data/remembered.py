"""A cache on disk for arrays that are expensive to compute, by the content of their inputs.

Files are written atomically; damaged ones are computed again.
"""

from __future__ import annotations

import hashlib
import math
import re
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


# What numpy.save writes before an array of numbers in C order.
_HEADER = re.compile(
    rb"\{'descr': '([<>|][biuf]\d+)', 'fortran_order': False, 'shape': \(([\d, ]*)\), \} *\n"
)


def read_array(path: Path) -> NDArray[Any] | None:
    """Return the array of numbers in a file that :func:`write_array` wrote.

    None where the file is missing, damaged or of another kind.
    """
    # Not numpy.load, which would also open zip archives; and numpy parses the header with
    # ast.literal_eval, which under Python 3.11 fails at times while another thread parses
    # (SystemError, https://github.com/python/cpython/issues/106905).
    try:
        data = path.read_bytes()
    except OSError:
        return None
    end = 10 + int.from_bytes(data[8:10], "little")
    header = _HEADER.fullmatch(data[10:end])
    if data[:8] != b"\x93NUMPY\x01\x00" or header is None:
        return None
    shape = tuple(int(side) for side in header[2].split(b",") if side.strip())
    try:
        dtype = np.dtype(header[1].decode())
    except TypeError:
        return None
    if len(data) != end + math.prod(shape) * dtype.itemsize:
        return None
    # A copy, so that the array can be written to, as one of numpy.load can.
    return np.frombuffer(data, dtype, offset=end).reshape(shape).copy()


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array of numbers as a ``.npy`` file, atomically."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.asarray(array, order="C"), allow_pickle=False)


def remembered(
    folder: Path,
    kind: str,
    inputs: Iterable[str | NDArray[Any] | None],
    compute: Callable[[], NDArray[Any]],
) -> NDArray[Any]:
    """Return ``compute()``, or what it returned earlier for the same inputs.

    ``results/<kind>/<sha256 of the inputs>.npy`` below ``folder`` holds the result.  ``kind`` names
    what is computed and ends in a version number, to be raised whenever a change of ``compute``
    changes the result.  ``inputs`` must hold everything else that the result depends on.
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
    compute: Callable[[list[Photo]], NDArray[Any]],
    progress: Progress,
    title: str,
    batch_size: int,
    dtype: type[np.floating[Any]] = np.float32,
) -> NDArray[Any]:
    """Return one array per indexed photo, shape (n, *shape), computing those not on disk.

    Each photo has a file of its own, written as soon as its batch is computed, so that an
    interrupted pass goes on where it stopped.

    Parameters
    ----------
    folder
        Its name must identify everything but the photo that the arrays depend on.
    compute
        Takes m photos, 1 to ``batch_size``, and returns their arrays, shape (m, *shape).
    dtype
        Of the arrays.
    """
    found = np.empty((len(photos), *shape), dtype)
    missing = []
    for row, photo in enumerate(photos):
        saved = _known(folder, photo, dtype)
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
    """Return the arrays that :func:`remembered_arrays` wrote to a folder, shape (n, *shape).

    None where the array of a photo is missing or has another shape, or there are no photos.
    """
    found = [saved for photo in photos if (saved := _known(folder, photo)) is not None]
    same = len(found) == len(photos) and len({saved.shape for saved in found}) == 1
    return np.stack(found) if same else None


def _file(folder: Path, photo: Photo) -> Path:
    return folder / photo.sha256[:2] / f"{photo.content}.npy"


def _known(
    folder: Path, photo: Photo, dtype: type[np.floating[Any]] = np.float32
) -> NDArray[Any] | None:
    saved = read_array(_file(folder, photo))
    sound = saved is not None and saved.dtype == dtype and np.isfinite(saved).all()
    return saved if sound else None
