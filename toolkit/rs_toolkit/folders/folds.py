"""The folds of a run that was refitted on every photo: which photo was judged without it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_toolkit.errors import RunError
from rs_toolkit.files import read_json, write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Folds", "fold_folder"]


@dataclass(frozen=True)
class Folds:
    """Folds of the n photos of a run that have a side, in the order of its index.

    ``numbers``, int64 (n,), are the photos' folds, from 0.  ``judged``, bool (n,), are the photos
    on which the score rests: other folds have photos of their class.
    """

    numbers: NDArray[np.int64]
    judged: NDArray[np.bool_]

    def write(self, run: Path) -> None:
        """Write ``folds.json`` into a run folder."""
        values = {"fold": self.numbers.tolist(), "judged": self.judged.tolist()}
        write_json(run / "folds.json", values)

    @classmethod
    def read(cls, run: Path, count: int) -> Folds:
        """Read the folds of ``count`` photos; RunError: the file is missing or damaged."""
        path = run / "folds.json"
        try:
            saved = read_json(path)
            numbers, judged = np.array(saved["fold"]), np.array(saved["judged"])
            if numbers.shape != (count,) or numbers.dtype != np.int64 or numbers.min() < 0:
                raise ValueError(f"wanted the folds of {count} photos")
            if judged.shape != (count,) or judged.dtype != bool or not judged.any():
                raise ValueError(f"wanted which of {count} photos were judged")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: damaged or missing ({error}); train again") from None
        return cls(numbers, judged)

    def names(self) -> list[int]:
        """Return the numbers of the folds that have photos."""
        return [int(number) for number in np.unique(self.numbers)]


def fold_folder(run: Path, number: int) -> Path:
    """Return the folder of a fold's model and logits; ``number`` counts from 0."""
    return run / "refit" / f"fold-{number + 1}"
