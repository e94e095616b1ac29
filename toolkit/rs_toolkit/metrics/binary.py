"""Scores of a filter: how well it ranks photos, and which organisms it wrongly flags.

Positives are photos that show an organism.  A filter that is right on average may flag all photos
of a rare family, so flagged photos are counted by family and by phylum.
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
"""Least photos of a family or class for which its share of flagged photos is judged."""


def check_scores(what: str, scores: ArrayLike, truth: ArrayLike) -> tuple[Floats, Flags]:
    """Check scores and truth, and return them as arrays of shape (n,), float64 and bool.

    Raises
    ------
    DataError
        They have other shapes, a score is not finite, or the truth is the same for all.
    """
    values, true = np.asarray(scores, np.float64), np.asarray(truth, bool)
    if values.ndim != 1 or values.shape != true.shape or true.all() or not true.any():
        raise DataError(
            f"{what}: got scores {values.shape} and truth {true.shape} with {true.sum()} true; "
            "wanted (n,) twice, and photos of both kinds; check that every split has both"
        )
    if not np.isfinite(values).all():
        raise DataError(f"{what}: some scores are not finite; the model is broken")
    return values, true


def auroc(scores: ArrayLike, truth: ArrayLike) -> float:
    """Return the area under the receiver operating characteristic, 0 to 1.

    It is the probability that a positive scores higher than a negative; ties count half.
    Parameters and errors are those of :func:`check_scores`.
    """
    from sklearn.metrics import roc_auc_score

    values, true = check_scores("AUROC", scores, truth)
    return float(roc_auc_score(true, values))


def filter_metrics(
    photos: Sequence[Photo], probability: Floats, truth: Flags, thresholds: Mapping[str, float]
) -> dict[str, Any]:
    """Measure a filter on n photos, as JSON values; raises as :func:`check_scores` does.

    Parameters
    ----------
    photos, probability, truth
        n photos that were not trained on; their calibrated probability of an organism, (n,), 0 to
        1; and whether they show one, bool (n,).
    thresholds
        ``not_organism`` and ``organism``; photos below the first are flagged.

    Returns
    -------
    dict
        ``organisms`` and ``others`` (numbers of photos), ``auroc``, ``accuracy`` (at a
        probability of 1/2), ``flagged`` (share of the organisms that are flagged), ``found``
        (share of the others that are flagged), ``uncertain`` (share of all photos between the
        thresholds), ``families`` and ``phyla`` (see :func:`flagged_by`), and ``worst_family``
        (highest flagged share of families with 10 photos or more; None if there is none).
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
    """Return ``name``, number of ``photos`` and of ``flagged`` ones for each taxon at a rank.

    Rows are sorted by name.  The last one, named None, counts photos of unknown taxon, if any.
    """
    names = [photo.label(rank) for photo in photos]
    total, hits = Counter(names), Counter(compress(names, flagged))
    ordered = sorted(total, key=lambda name: (name is None, name or ""))
    return [{"name": name, "photos": total[name], "flagged": hits[name]} for name in ordered]
