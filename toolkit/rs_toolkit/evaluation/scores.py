"""Scores of a model at every rank, what it names by its thresholds, and how calibrated it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.ranks import FoundTaxon, Level, finest_taxa
from rs_toolkit.evaluation.truth import UNKNOWN, UNLABELLED
from rs_toolkit.metrics.classification import (
    expected_calibration_error,
    in_top_k,
    per_class,
)
from rs_toolkit.metrics.intervals import Estimate, macro_f1_estimate, share_estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Judged", "judge", "values"]

_BINS = 10
_STEPS = 20


@dataclass(frozen=True)
class Judged:
    """A model's answers to n photos, beside the truth.

    Attributes
    ----------
    levels
        The ranks, the trained one first.
    probabilities
        Calibrated probabilities of the classes, (n, classes).
    truth
        Index of the true taxon at each rank, or UNKNOWN or UNLABELLED, (n, ranks).
    groups
        Groups of photos that are not independent, integers (n,).
    answers
        The finest taxon that is certain enough, None where there is none; empty if the model was
        not fitted to answer so.
    """

    levels: Sequence[Level]
    probabilities: NDArray[np.floating[Any]]
    truth: NDArray[np.int64]
    groups: NDArray[np.int64]
    answers: Sequence[FoundTaxon | None]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Photos with a name at some rank, and at no rank one that the model does not know."""
        named = (self.truth >= 0).any(axis=1)
        return np.asarray(named & ~self.unknown)

    @property
    def unknown(self) -> NDArray[np.bool_]:
        """Photos of a taxon that the model does not know at some rank."""
        return np.asarray((self.truth == UNKNOWN).any(axis=1))

    def only(self, kept: NDArray[np.bool_]) -> Judged:
        """Return the part of the photos for which ``kept`` (n,) holds."""
        answers = [found for found, keep in zip(self.answers, kept, strict=False) if keep]
        return Judged(
            self.levels, self.probabilities[kept], self.truth[kept], self.groups[kept], answers
        )

    def right(self, answer: FoundTaxon, photo: int) -> bool | None:
        """Return whether an answer to a photo is right; None if its label does not tell."""
        rank = [level.rank for level in self.levels].index(answer.level.rank)
        true = int(self.truth[photo, rank])
        return None if true == UNLABELLED else true == answer.place

    def ranks(self) -> list[dict[str, Any]]:
        """Return the scores at each rank on the photos that have a known taxon there.

        Those are ``photos``, ``taxa`` (of the photos) and, as estimates with limits, ``accuracy``,
        ``top5`` and ``macro_f1``; ``ece`` is the expected calibration error.
        """
        return [self._rank(number, level) for number, level in enumerate(self.levels)]

    def _rank(self, number: int, level: Level) -> dict[str, Any]:
        kept = self.truth[:, number] >= 0
        true, groups = self.truth[kept, number], self.groups[kept]
        row: dict[str, Any] = {"rank": level.rank, "photos": len(true), "taxa": len(set(true))}
        names = ("accuracy", "top5", "macro_f1", "ece")
        if not len(true):
            return {**row, **dict.fromkeys(names)}
        taxa = level.probabilities(self.probabilities[kept])
        given = taxa.argmax(axis=1)
        scores = (
            values(share_estimate(given == true, groups)),
            values(share_estimate(in_top_k(taxa, true), groups)),
            values(macro_f1_estimate(true, given, len(level.names), groups)),
            expected_calibration_error(taxa, true),
        )
        return {**row, **dict(zip(names, scores, strict=True))}

    def named(self, thresholds: Mapping[str, float] | None) -> dict[str, Any] | None:
        """Return what is named at each rank, and how much of it is right; None: no thresholds.

        ``share`` is that of all n photos; ``right`` is an estimate with limits on the photos whose
        label tells, ``judged``.  ``uncertain`` counts photos that are named at no rank.
        """
        if thresholds is None:
            return None
        rows = []
        for level in self.levels:
            if level.rank not in thresholds:
                continue
            found = [
                (photo, self.right(answer, photo))
                for photo, answer in enumerate(self.answers)
                if answer is not None and answer.level.rank == level.rank
            ]
            judged = [(photo, right) for photo, right in found if right is not None]
            groups = self.groups[[photo for photo, _ in judged]]
            rows.append(
                {
                    "rank": level.rank,
                    "named": len(found),
                    "share": len(found) / max(1, len(self.answers)),
                    "judged": len(judged),
                    "right": values(share_estimate([right for _, right in judged], groups)),
                }
            )
        return {"ranks": rows, "uncertain": sum(answer is None for answer in self.answers)}

    def classes(self) -> list[dict[str, Any]]:
        """Return ``name``, ``support``, ``precision``, ``recall`` and ``f1`` of each class."""
        true, _, given = self._trained()
        names = self.levels[0].names
        if not len(true):
            return []
        columns = per_class(true, given, len(names))
        return [
            {"name": name, **{key: values[number].item() for key, values in columns.items()}}
            for number, name in enumerate(names)
        ]

    def confusions(self) -> list[dict[str, Any]]:
        """Return how often a photo of one class was taken for another, the most frequent first."""
        true, _, given = self._trained()
        counts = Counter(
            (t, g) for t, g in zip(true.tolist(), given.tolist(), strict=True) if t != g
        )
        names = self.levels[0].names
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return [{"true": names[t], "named": names[g], "photos": n} for (t, g), n in ordered]

    def reliability(self) -> list[dict[str, float]]:
        """Return mean ``confidence`` and ``accuracy`` of the ``photos`` in ten bins of confidence.

        Bins without photos are left out.  Source: Guo et al. 2017, "On calibration of modern neural
        networks", section 2.
        """
        true, confidence, given = self._trained()
        place = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
        rows = []
        for number in range(_BINS):
            kept = place == number
            if kept.any():
                share = float((given == true)[kept].mean())
                mean = float(confidence[kept].mean())
                rows.append({"photos": int(kept.sum()), "confidence": mean, "accuracy": share})
        return rows

    def selective(self) -> list[dict[str, float]]:
        """Return the ``accuracy`` on the most confident photos, for shares of 5 to 100 %.

        Source: Geifman, El-Yaniv 2017, "Selective classification for deep neural networks".
        """
        true, confidence, given = self._trained()
        right = (given == true)[np.argsort(-confidence, kind="stable")]
        shares = [(step + 1) / _STEPS for step in range(_STEPS)] if len(right) else []
        return [
            {"share": share, "accuracy": float(right[: max(1, round(share * len(right)))].mean())}
            for share in shares
        ]

    def unknown_taxa(self) -> list[dict[str, Any]]:
        """Return for each rank the photos whose taxon there is ``unknown`` or ``known``.

        ``accuracy`` is an estimate with limits on the known ones.
        """
        rows = []
        for number, level in enumerate(self.levels):
            true = self.truth[:, number]
            kept = true >= 0
            given = level.probabilities(self.probabilities[kept]).argmax(axis=1)
            found = share_estimate(given == true[kept], self.groups[kept])
            unknown, known = int((true == UNKNOWN).sum()), int(kept.sum())
            row = {"rank": level.rank, "unknown": unknown, "known": known}
            rows.append({**row, "accuracy": values(found)})
        return rows

    def _trained(self) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.int64]]:
        """Return true class, confidence and given class of photos with a known class."""
        kept = self.truth[:, 0] >= 0
        rows = self.probabilities[kept]
        return self.truth[kept, 0], rows.max(axis=1), rows.argmax(axis=1)


def judge(
    levels: Sequence[Level],
    probabilities: NDArray[np.floating[Any]],
    truth: NDArray[np.int64],
    groups: NDArray[np.int64],
    thresholds: Mapping[str, float] | None,
) -> Judged:
    """Return a model's answers by its thresholds, beside the truth; see :class:`Judged`.

    Without a threshold that is reached a photo is uncertain; None: the model has none at all.
    """
    answers = [] if thresholds is None else finest_taxa(probabilities, levels, thresholds)
    return Judged(levels, probabilities, truth, groups, answers)


def values(found: Estimate | None) -> dict[str, Any] | None:
    """Return an estimate as JSON values; None if there is none."""
    return None if found is None else asdict(found)
