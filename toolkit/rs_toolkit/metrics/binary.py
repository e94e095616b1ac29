"""What a filter is worth: how well it ranks, and which organisms it wrongly flags.

Positives are photos that show an organism.  A filter that is right on average may be wrong about
all the photos of a rare kind, so what it flags is counted family by family and phylum by phylum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rs_toolkit.data.photos import Photo

__all__ = ["ENOUGH", "auroc", "filter_metrics", "flagged_by"]

ENOUGH = 10
"""Photos that a family or class must have for its share of flagged photos to be held to a limit."""


def auroc(scores: ArrayLike, truth: ArrayLike) -> float:
    """Return the area under the receiver operating characteristic, 0 to 1.

    The probability that a positive scores higher than a negative, ties counting half: the
    statistic of Mann and Whitney (1947), over the number of pairs.

    Parameters
    ----------
    scores : array of shape (n,), not NaN
    truth : boolean array of shape (n,), of both kinds

    Raises
    ------
    DataError
        The shapes do not fit, a score is NaN, or a kind is missing.
    """
    values, true = np.asarray(scores, np.float64), np.asarray(truth, bool)
    if values.ndim != 1 or values.shape != true.shape or true.all() or not true.any():
        raise DataError(
            f"AUROC: got scores {values.shape} and truth {true.shape} with {true.sum()} true; "
            "wanted (n,) twice, and photos of both kinds"
        )
    if np.isnan(values).any():
        raise DataError("AUROC: some scores are NaN; the model is broken")
    ranked = np.sort(values[~true])
    below = np.searchsorted(ranked, values[true], "left")
    not_above = np.searchsorted(ranked, values[true], "right")
    return float((below + not_above).mean() / (2 * len(ranked)))


def filter_metrics(
    photos: Sequence[Photo],
    probability: NDArray[np.float64],
    truth: NDArray[np.bool_],
    thresholds: Mapping[str, float],
) -> dict[str, Any]:
    """Return what n photos say of a filter, as JSON values.

    Parameters
    ----------
    photos
        n photos that were not trained on.
    probability
        Calibrated probability of an organism, (n,), 0 to 1.
    truth
        Whether they show one, (n,); both kinds.
    thresholds
        ``not_organism`` and ``organism``; photos below the first are flagged.

    Returns
    -------
    dict
        ``organisms`` and ``others`` (numbers of photos), ``auroc``, ``accuracy`` (at a
        probability of 1/2), ``flagged`` (share of the organisms), ``found`` (share of the others
        that are flagged), ``uncertain`` (share of all that are neither flagged nor sure),
        ``families`` and ``phyla`` (see :func:`flagged_by`), and the ``worst_family`` of those
        with 10 photos or more, None if there is none.

    Raises
    ------
    DataError
        A kind is missing, or shapes do not fit.
    """
    low, high = thresholds["not_organism"], thresholds["organism"]
    area, flagged = auroc(probability, truth), probability < low
    organisms = [photo for photo, true in zip(photos, truth, strict=True) if true]
    families = flagged_by("family", organisms, flagged[truth])
    enough = [row for row in families if row["photos"] >= ENOUGH]
    return {
        "organisms": int(truth.sum()),
        "others": int((~truth).sum()),
        "auroc": area,
        "accuracy": float(((probability >= 0.5) == truth).mean()),
        "flagged": float(flagged[truth].mean()),
        "found": float(flagged[~truth].mean()),
        "uncertain": float((~flagged & (probability < high)).mean()),
        "worst_family": max(enough, key=lambda row: row["flagged"] / row["photos"], default=None),
        "families": families,
        "phyla": flagged_by("phylum", organisms, flagged[truth]),
    }


def flagged_by(
    rank: str, photos: Sequence[Photo], flagged: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Return ``name``, ``photos`` and ``flagged`` (numbers) of each taxon at a rank, by name.

    Photos whose taxon is unknown at the rank are counted under the name None, at the end.
    """
    counts: dict[str | None, list[int]] = {}
    for photo, hit in zip(photos, flagged, strict=True):
        row = counts.setdefault(photo.label(rank), [0, 0])
        row[0] += 1
        row[1] += int(hit)
    ordered = sorted(counts.items(), key=lambda item: (item[0] is None, item[0] or ""))
    return [{"name": name, "photos": row[0], "flagged": row[1]} for name, row in ordered]
