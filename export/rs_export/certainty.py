"""How sure a classifier's answers are: fitted on validation photos, and checked on others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rs_export.result import Calibration
from rs_runtime.ranks import Level, finest_taxa
from rs_runtime.sets import in_set
from rs_toolkit.metrics.calibration import fit_temperature
from rs_toolkit.metrics.classification import softmax
from rs_toolkit.metrics.sets import CHECKED, fit_sets
from rs_toolkit.metrics.thresholds import acceptance_threshold, right_share_limits
from rs_toolkit.metrics.unknown import fit_unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Parts = Sequence[tuple[slice | NDArray[np.bool_], Calibration]]

__all__ = ["answered", "calibrate", "set_scores"]


def calibrate(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    levels: Sequence[Level],
    precision: float,
) -> Calibration:
    """Fit a variant's temperature, thresholds, sets and unknown score on validation photos.

    The thresholds are fitted from the finest rank to the coarsest, each on the photos that no finer
    rank names: those are the photos that it will be used on.

    Parameters
    ----------
    logits, labels, groups : the variant's logits (n, classes), the true classes (n,) and the groups
        (n,), equal for photos that are no independent evidence; n is at least 1
    levels : ranks at which photos may be named, finest first
    precision : least share of the names given that must be right, above 0 and at most 1
    """
    temperature = fit_temperature(logits, labels, groups)
    probabilities = softmax(logits / temperature)
    thresholds = {}
    unnamed = labels >= 0
    for level in levels:
        taxa = level.probabilities(probabilities)
        sure, right = taxa.max(axis=1), taxa.argmax(axis=1) == level.places[labels]
        threshold = acceptance_threshold(sure[unnamed], right[unnamed], precision, groups[unnamed])
        if threshold is not None:
            thresholds[level.rank] = threshold
            unnamed &= sure < threshold
    return Calibration(
        temperature,
        thresholds,
        sets=fit_sets(probabilities, labels, groups),
        unknown=fit_unknown(logits, temperature, groups),
    )


def answered(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    levels: Sequence[Level],
    fitted: Calibration | Parts,
) -> dict[str, dict[str, Any]]:
    """Count for each rank the photos ``named`` at it, and how many of these names are ``right``.

    ``low`` and ``high`` are the limits of the share that is right, as of
    :func:`rs_toolkit.metrics.thresholds.right_share_limits`.  Ranks without a threshold are left
    out.  Photos that reach no threshold are not counted.  ``fitted`` is the calibration of all
    photos, or of each part of them.
    """
    import numpy as np

    found, parts = np.empty(len(labels), object), _parts(fitted)
    for rows, own in parts:
        found[rows] = finest_taxa(softmax(logits[rows] / own.temperature), levels, own.thresholds)
    counts = {}
    for level in levels:
        if any(level.rank in own.thresholds for _, own in parts):
            at_rank = [taxon if taxon and taxon.level is level else None for taxon in found]
            named = np.array([taxon is not None for taxon in at_rank], bool)
            given = np.array([taxon.place for taxon in at_rank if taxon], np.int64)
            right = given == level.places[labels[named]]
            low, high = right_share_limits(right, groups[named])
            counts[level.rank] = {
                "named": len(given), "right": int(right.sum()), "low": low, "high": high
            }  # fmt: skip
    return counts


def _parts(fitted: Calibration | Parts) -> Parts:
    return [(slice(None), fitted)] if isinstance(fitted, Calibration) else fitted


def set_scores(
    logits: NDArray[np.float32], labels: NDArray[np.int64], fitted: Calibration | Parts
) -> dict[str, dict[str, float]]:
    """Check the sets on photos that they were not fitted on, for some coverages.

    Returns, by the coverage asked for as text, the share of sets that hold the true class
    (``reached``), the mean of this share over the classes (``by_class``), and the mean number of
    classes in a set (``size``).  Empty without sets.
    """
    import numpy as np

    parts = _parts(fitted)
    if any(own.sets is None for _, own in parts):
        return {}
    photos = np.bincount(labels, minlength=logits.shape[1])
    scores = {}
    for coverage in CHECKED:
        inside = np.empty(logits.shape, bool)
        for rows, own in parts:
            assert own.sets is not None
            inside[rows] = in_set(softmax(logits[rows] / own.temperature), own.sets, coverage)
        held = inside[np.arange(len(labels)), labels]
        shares = np.bincount(labels, held, len(photos))[photos > 0] / photos[photos > 0]
        scores[str(coverage)] = {
            "reached": float(held.mean()),
            "by_class": float(shares.mean()),
            "size": float(inside.sum(axis=1).mean()),
        }
    return scores
