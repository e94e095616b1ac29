"""Results that depend on nothing but their input, kept in the cache by its content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.files import atomic_write

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["remembered"]


def remembered(
    folder: Path,
    kind: str,
    inputs: Iterable[str | NDArray[Any] | None],
    compute: Callable[[], NDArray[Any]],
) -> NDArray[Any]:
    """Return ``compute()``, or what it returned earlier for the same inputs.

    Parameters
    ----------
    folder
        The cache; ``results/<kind>/<sha256 of the inputs>.npy`` below it holds the result.  A
        damaged file is made again.
    kind
        What is computed, with a number that is raised whenever ``compute`` would return something
        else than before.
    inputs
        All that the result depends on.
    compute
        Returns an array of numbers.

    Raises
    ------
    OSError
        The cache cannot be written.
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
    try:
        known: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        found = compute()
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.save(file, found, allow_pickle=False)
        return found
    return known
