"""Scores of a filter: how well it ranks photos, and which organisms it wrongly flags.

Positives are photos that show an organism.  A filter that is right on average may be wrong about
all the photos of a rare kind, so what it flags is counted family by family and phylum by phylum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rs_toolkit.data.photos import Photo
from rs_toolkit.errors import DataError

__all__ = ["ENOUGH", "auroc", "check_scores", "filter_metrics", "flagged_by"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

ENOUGH = 10
"""Photos that a family or class must have for its share of flagged photos to be held to a limit."""


def check_scores(what: str, scores: ArrayLike, truth: ArrayLike) -> tuple[Floats, Flags]:
    """Return n finite scores and n booleans of both kinds as arrays.

    Raises
    ------
    DataError
        They are anything else; ``what`` they are for begins the message.
    """
    values, true = np.asarray(scores, np.float64), np.asarray(truth, bool)
    if values.ndim != 1 or values.shape != true.shape or true.all() or not true.any():
        raise DataError(
            f"{what}: got scores {values.shape} and truth {true.shape} with {true.sum()} true; "
            "wanted (n,) twice, and photos of both kinds; are there photos of both in every split?"
        )
    if not np.isfinite(values).all():
        raise DataError(f"{what}: some scores are not finite; the model is broken")
    return values, true


def auroc(scores: ArrayLike, truth: ArrayLike) -> float:
    """Return the area under the receiver operating characteristic, 0 to 1.

    The probability that a positive scores higher than a negative, ties counting half.
    Parameters and errors are those of :func:`check_scores`.
    """
    from sklearn.metrics import roc_auc_score

    values, true = check_scores("AUROC", scores, truth)
    return float(roc_auc_score(true, values))


def filter_metrics(
    photos: Sequence[Photo], probability: Floats, truth: Flags, thresholds: Mapping[str, float]
) -> dict[str, Any]:
    """Return what n photos say of a filter, as JSON values; raises as :func:`check_scores` does.

    Parameters
    ----------
    photos, probability, truth
        n photos that were not trained on, their calibrated probability of an organism, (n,), 0 to
        1, and whether they show one, (n,).
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


def flagged_by(rank: str, photos: Sequence[Photo], flagged: Flags) -> list[dict[str, Any]]:
    """Return ``name``, ``photos`` and ``flagged`` (numbers) of each taxon at a rank, by name.

    Photos whose taxon is unknown at the rank are counted under the name None, at the end.
    """
    names = [photo.label(rank) for photo in photos]
    total, hits = Counter(names), Counter(compress(names, flagged))
    ordered = sorted(total, key=lambda name: (name is None, name or ""))
    return [{"name": name, "photos": total[name], "flagged": hits[name]} for name in ordered]
