"""Out-of-fold logits of all photos, for a model that is to learn from every photo.

Each photo is judged by a model that was trained, as the one that ships, on the other folds.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rs_toolkit.data.groups import group_photos
from rs_toolkit.data.remembered import read_array, write_array
from rs_toolkit.folders.folds import Folds, fold_folder
from rs_toolkit.metrics.calibration import fit_temperature
from rs_toolkit.metrics.classification import evaluate
from rs_toolkit.splits.folds import deal_folds, judged_folds
from rs_toolkit.splits.places import Places, places_of_folds
from rs_train.classifier.model import save_model

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from rs_toolkit.config.training import TrainConfig
    from rs_toolkit.data.photos import Photo
    from rs_toolkit.progress import Progress

__all__ = ["Judged", "fold_logits", "make_folds"]

Learn = Callable[[Path, list["Photo"]], "keras.Model"]
Answer = Callable[["keras.Model", list["Photo"]], "NDArray[np.float32]"]


def make_folds(
    photos: Sequence[Photo], labels: NDArray[np.int64], config: TrainConfig, run: Path
) -> Folds:
    """Deal the n photos of a run to ``config.refit_folds`` folds, in the groups of its split.

    The result is also written into the folder ``run``, from which it is read where it is there.
    """
    if (run / "folds.json").is_file():
        return Folds.read(run, len(photos))
    groups = group_photos(photos, config.group_by).numbers
    numbers = deal_folds(labels, groups, config.refit_folds, np.random.default_rng(config.seed))
    learned = np.array([photo.weight > 0 for photo in photos])
    found = Folds(numbers, judged_folds(labels, numbers, learned) >= 0)
    found.write(run)
    return found


def fold_logits(
    run: Path, photos: Sequence[Photo], folds: Folds, learn: Learn, answer: Answer,
    progress: Progress,
) -> NDArray[np.float32]:  # fmt: skip
    """Return the out-of-fold logits of n photos, (n, classes).

    A fold's model and logits are kept in :func:`fold_folder`.  A fold that has them is not trained
    again; one that was interrupted goes on from its checkpoints.

    Parameters
    ----------
    learn
        Takes a folder of checkpoints and photos; returns the model that has learned from them.
    answer
        Takes that model and photos; returns float32 logits (m, classes).
    """
    found: dict[int, NDArray[np.float32]] = {}
    for number in (names := folds.names()):
        held = [photo for photo, own in zip(photos, folds.numbers, strict=True) if own == number]
        folder = fold_folder(run, number)
        known = read_array(folder / "logits.npy")
        if known is None or len(known) != len(held):
            others = [x for x, own in zip(photos, folds.numbers, strict=True) if own != number]
            said = f"{len(others)} photos are learned from, {len(held)} judged"
            progress.note(f"fold {number + 1} of {len(names)}: {said}")
            model = learn(folder / "checkpoints", others)
            known = answer(model, held)
            save_model(model, folder / "model.keras")
            # Written last: it marks the fold as finished.
            write_array(folder / "logits.npy", known)
            # Models hold themselves in cycles, and are large.
            del model
            gc.collect()
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        found[number] = known
    logits = np.empty((len(photos), next(iter(found.values())).shape[1]), np.float32)
    for number, part in found.items():
        logits[folds.numbers == number] = part
    return logits


class Judged(NamedTuple):
    """The n photos that folds judged: logits (n, classes), class numbers and folds (n,).

    ``left_out`` counts the others; ``places`` is which question the scores answer.
    """

    photos: list[Photo]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    folds: NDArray[np.int64]
    left_out: int
    places: Places

    @classmethod
    def of(
        cls,
        photos: Sequence[Photo],
        labels: NDArray[np.int64],
        logits: NDArray[np.float32],
        folds: Folds,
    ) -> Judged:
        """Return those of a run's photos whose class the other folds have."""
        kept = folds.judged
        chosen = [photo for photo, own in zip(photos, kept, strict=True) if own]
        places = places_of_folds(photos, folds.numbers.tolist(), kept.tolist())
        numbers, left_out = folds.numbers[kept], int((~kept).sum())
        return cls(chosen, labels[kept], logits[kept], numbers, left_out, places)

    def temperature(self, kept: NDArray[np.bool_] | None = None) -> float:
        """Fit the temperature to all photos, or to those ``kept`` (n,)."""
        groups = group_photos(self.photos).numbers
        kept = np.ones(len(self.labels), bool) if kept is None else kept
        return fit_temperature(self.logits[kept], self.labels[kept], groups[kept])

    def scores(self, names: Sequence[str]) -> dict[str, Any]:
        """Return scores as :func:`evaluate` does; a fold has the temperature of the others."""
        calm = np.empty_like(self.logits)
        for number in np.unique(self.folds):
            own = self.folds == number
            # Where one fold alone could be judged, there are no others.
            others = None if own.all() else ~own
            calm[own] = self.logits[own] / self.temperature(others)
        return evaluate(calm, self.labels, list(names), 1.0)

    def about(self) -> dict[str, Any]:
        """Return JSON values that say where the scores come from."""
        return {
            "folds": len(np.unique(self.folds)),
            "photos": len(self.photos),
            "left_out": self.left_out,
        }
