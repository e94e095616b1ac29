"""Fit sets of classes that hold the true class of a chosen share of photos.

The sets are those of split conformal prediction (Vovk, Gammerman, Shafer 2005): a class is in a
photo's set if its score reaches a limit, and the limits are quantiles of the validation photos'
scores of their true classes.  The score is made for long tails; see
:func:`rs_runtime.sets.prevalence_ratio`.  With the plain probability as the score, rare classes are
left out more often (docs/decisions/0018); limits for each class would need many photos of each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rs_runtime.kit.sets import SetSpec
from rs_runtime.sets import prevalence_ratio
from rs_toolkit.metrics.calibration import group_weights
from rs_toolkit.metrics.classification import check_logits

__all__ = ["CHECKED", "fit_sets", "prevalences", "set_ratios"]

COVERAGES = tuple(percent / 100 for percent in range(50, 100))
CHECKED = (0.8, 0.9, 0.95)
"""Coverages at which sets are checked on photos that they were not fitted on."""

Floats = NDArray[np.float64]


def fit_sets(
    probabilities: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None
) -> SetSpec:
    """Fit sets for coverages of 0.50, 0.51 … 0.99, as far as there are photos enough.

    Parameters
    ----------
    probabilities, labels
        Calibrated probabilities (n, classes) and true classes (n,) of validation photos, n >= 1.
    groups
        Integers (n,), equal for photos of the same group, which count as one photo together; None:
        each photo counts.
    """
    scores, truth = check_logits("sets (of validation photos)", probabilities, labels)
    weights = group_weights(groups, len(truth))
    prevalence = prevalences(scores, weights)
    own = np.take_along_axis(prevalence_ratio(scores, prevalence), truth[:, None], axis=1)[:, 0]
    ratios = set_ratios(own, weights)
    found = [(c, r) for c, r in zip(COVERAGES, ratios.tolist(), strict=True) if r > 0]
    # With a photo or none, every class is in every set.
    kept, ratios_of = zip(*found, strict=True) if found else ((COVERAGES[0],), (0.0,))
    return SetSpec(tuple(prevalence.tolist()), tuple(kept), tuple(ratios_of))


def prevalences(probabilities: Floats, weights: Floats) -> Floats:
    """Return each class's mean probability over n photos (n, classes) and one photo more a class.

    The latter is Laplace's rule of succession; it keeps classes without photos above 0.
    """
    counts = weights @ probabilities + 1
    return np.asarray(counts / counts.sum())


def set_ratios(own: Floats, weights: Floats) -> Floats:
    """Return the limit for each of COVERAGES: the true class of a new photo reaches it that often.

    With K groups, photos of a total weight of at least coverage * (K + 1) reach it; the limit is
    0 where K is too small for that.

    Parameters
    ----------
    own, weights
        Scores (n,) of the photos' true classes, and weights (n,) that sum to 1 in each group.

    References
    ----------
    Lee, Barber, Willett (2023), Distribution-free inference with hierarchical data, section 3.
    """
    order = np.argsort(-own, kind="stable")
    reached = np.cumsum(weights[order])
    wanted = np.asarray(COVERAGES) * (weights.sum() + 1)
    # Weights are fractions, whose sums are not exact.
    places = np.searchsorted(reached, wanted - 1e-9)
    return np.asarray(np.append(own[order], 0.0)[places])
