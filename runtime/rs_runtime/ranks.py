"""From probabilities of classes to the finest taxon that is probable enough.

The probability of a taxon is the sum of its classes' probabilities: a photo may show a thrush for
certain even if it is not certain which one.  Two taxa of the same name are told apart by the ranks
above.  The answer is at the finest rank whose most probable taxon reaches that rank's threshold.
If no rank does, the answer names no taxon.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.kit.manifest import RANKS, ClassInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Answer", "FoundTaxon", "Level", "answers", "finest_taxa", "levels"]


@dataclass(frozen=True)
class Answer:
    """The finest taxon that a photo shows with enough certainty, and its probability, 0 to 1.

    If no rank reached its threshold, ``rank`` and ``name`` are None and the probability is that of
    the most probable class.
    """

    rank: str | None
    name: str | None
    probability: float


@dataclass(frozen=True)
class Level:
    """The taxa of one rank.  ``places``, (classes,), holds the index of each class's taxon in
    ``names``, or -1 if the taxon is unknown."""

    rank: str
    names: tuple[str, ...]
    places: NDArray[np.int64]

    def probabilities(self, classes: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the probabilities of the taxa, (n, taxa), from those of the classes."""
        # Column 0 collects the classes of unknown taxon.
        taxa = len(self.names) + 1
        sums = [np.bincount(self.places + 1, row, taxa) for row in classes]
        return np.array(sums, np.float64).reshape(-1, taxa)[:, 1:]


@dataclass(frozen=True)
class FoundTaxon:
    """A taxon: its rank, its index (``place``) in the level's ``names``, and its probability."""

    level: Level
    place: int
    probability: float


def levels(classes: Sequence[ClassInfo], rank: str) -> tuple[Level, ...]:
    """Return the ranks at which the classes differ, from the trained rank to the coarsest.

    ``classes`` are in the order of the logits; ``rank``, the trained one, is one of RANKS or
    ``common_name``.
    """
    found = [Level(rank, tuple(item.name for item in classes), np.arange(len(classes)))]
    above = RANKS[: RANKS.index(rank)] if rank in RANKS else RANKS
    for upper in reversed(above):
        names, places = _taxa([item.taxon for item in classes], RANKS[: RANKS.index(upper) + 1])
        # If only one taxon is known at a rank, it would be the answer to every photo.
        if len(names) > 1:
            found.append(Level(upper, names, places))
    return tuple(found)


def _taxa(
    classes: Sequence[Mapping[str, str]], ranks: Sequence[str]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the names of the taxa at the last of the ranks, and each class's index in them.

    Two taxa may have the same name: Oenanthe is a genus of birds and a genus of plants.  Classes
    of the same name belong to the same taxon unless they differ at a higher rank that is known of
    both.  The taxon of a class that fits several is unknown: its index is -1.
    """
    known = [{rank: taxon[rank] for rank in ranks if rank in taxon} for taxon in classes]
    named = [path for path in known if ranks[-1] in path]
    namesakes: dict[str, list[dict[str, str]]] = {path[ranks[-1]]: [] for path in named}
    # The classes with the most known ranks define taxa first; then the others are matched.
    for path in sorted(named, key=lambda path: (-len(path), *path.items())):
        taxa = namesakes[path[ranks[-1]]]
        fitting = [taxon for taxon in taxa if _agree(path, taxon)]
        if not fitting:
            taxa.append(dict(path))
        elif len(fitting) == 1:
            fitting[0].update(path)
    names = tuple(name for name in sorted(namesakes) for _ in namesakes[name])
    places = []
    for path in known:
        name = path.get(ranks[-1], "")
        fits = [place for place, taxon in enumerate(namesakes.get(name, ())) if _agree(path, taxon)]
        places.append(bisect_left(names, name) + fits[0] if len(fits) == 1 else -1)
    return names, np.array(places, np.int64)


def _agree(path: Mapping[str, str], taxon: Mapping[str, str]) -> bool:
    return all(taxon.get(rank, name) == name for rank, name in path.items())


def answers(
    probabilities: NDArray[np.floating[Any]],
    levels: Sequence[Level],
    thresholds: Mapping[str, float],
) -> list[Answer]:
    """Return the answer to each photo, from calibrated probabilities (n, classes).

    ``thresholds`` maps a rank to its least probability; ranks without one are never the answer.
    """
    best = probabilities.max(axis=1)
    return [
        Answer(None, None, float(best[photo]))
        if taxon is None
        else Answer(taxon.level.rank, taxon.level.names[taxon.place], taxon.probability)
        for photo, taxon in enumerate(finest_taxa(probabilities, levels, thresholds))
    ]


def finest_taxa(
    probabilities: NDArray[np.floating[Any]],
    levels: Sequence[Level],
    thresholds: Mapping[str, float],
) -> list[FoundTaxon | None]:
    """Return the taxon of each photo's answer, None if no rank reached its threshold.

    Parameters as for :func:`answers`.  Unlike its name, a taxon's ``place`` is unique.
    """
    found: list[FoundTaxon | None] = [None] * len(probabilities)
    for level in reversed([level for level in levels if level.rank in thresholds]):
        taxa = level.probabilities(probabilities)
        for photo, place in enumerate(taxa.argmax(axis=1)):
            probability = float(taxa[photo, place])
            if probability >= thresholds[level.rank]:
                found[photo] = FoundTaxon(level, int(place), probability)
    return found
