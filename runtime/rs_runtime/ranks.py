"""Probabilities of classes to the finest taxon that is probable enough.

A photo that could be either of two thrushes is a thrush: the probability of a taxon is the sum of
its classes' probabilities.  The answer is the finest rank whose most probable taxon reaches that
rank's threshold, else that nothing is certain enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.kit.manifest import RANKS, ClassInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Answer", "Level", "answers", "levels"]


@dataclass(frozen=True)
class Answer:
    """What a photo shows, as finely as can be said.

    Attributes
    ----------
    rank, name
        The taxon; both None if no rank reached its threshold.
    probability
        Calibrated, 0 to 1; of the most probable class if there is no name.
    """

    rank: str | None
    name: str | None
    probability: float


@dataclass(frozen=True)
class Level:
    """The taxa of one rank; ``places`` (classes,) has each class's taxon in ``names``, -1 if it is
    unknown."""

    rank: str
    names: tuple[str, ...]
    places: NDArray[np.int64]

    def probabilities(self, classes: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the probabilities of the taxa, (n, taxa), from those of the classes."""
        # Place 0 is for the unknown.
        taxa = len(self.names) + 1
        sums = [np.bincount(self.places + 1, row, taxa) for row in classes]
        return np.array(sums, np.float64).reshape(-1, taxa)[:, 1:]


def levels(classes: Sequence[ClassInfo], rank: str) -> tuple[Level, ...]:
    """Return the ranks at which the classes differ, from the trained one up.

    Parameters
    ----------
    classes
        In the order of the logits.
    rank
        The trained rank: one of RANKS, or ``common_name``.
    """
    found = [Level(rank, tuple(item.name for item in classes), np.arange(len(classes)))]
    above = RANKS[: RANKS.index(rank)] if rank in RANKS else RANKS
    for upper in reversed(above):
        taxa = [item.taxon.get(upper) for item in classes]
        names = tuple(sorted({name for name in taxa if name is not None}))
        # Where all share one name it would be right for a photo of anything.
        if len(names) > 1:
            places = [names.index(name) if name is not None else -1 for name in taxa]
            found.append(Level(upper, names, np.array(places)))
    return tuple(found)


def answers(
    probabilities: NDArray[np.floating[Any]],
    levels: Sequence[Level],
    thresholds: Mapping[str, float],
) -> list[Answer]:
    """Return the finest acceptable answer for each photo.

    Parameters
    ----------
    probabilities
        Calibrated, shape (n, classes).
    levels
        As :func:`levels` gives them.
    thresholds
        Least probability by rank; a rank without one is never the answer.
    """
    found = [Answer(None, None, float(best)) for best in probabilities.max(axis=1)]
    for level in reversed([level for level in levels if level.rank in thresholds]):
        taxa = level.probabilities(probabilities)
        for photo, place in enumerate(taxa.argmax(axis=1)):
            probability = float(taxa[photo, place])
            if probability >= thresholds[level.rank]:
                found[photo] = Answer(level.rank, level.names[place], probability)
    return found
