"""Sets of classes that a photo may show, and how strange a photo is to the model.

Both are conformal: they compare a photo with validation photos, which the model was not trained on
(Vovk, Gammerman, Shafer 2005, "Algorithmic Learning in a Random World").  What they promise holds
for photos like those, on average over photos.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.kit.sets import SetSpec, UnknownSpec

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["STRANGE", "in_set", "prevalence_ratio", "strangeness", "unknown_score"]

STRANGE = 0.95
"""From this strangeness on, a photo may show none of the classes."""


def prevalence_ratio(probabilities: ArrayLike, prevalence: ArrayLike) -> Floats:
    """Return how many times its prevalence each class's probability is, float64 (n, classes).

    A common class is often probable; this ratio gives a rare one the same chance to be in a set.
    Source: the prevalence-adjusted softmax of Ding, Fermanian, Salmon 2025, "Conformal Prediction
    for Long-Tailed Classification", section 3.

    Parameters
    ----------
    probabilities, prevalence
        Calibrated probabilities (n, classes); each class's mean probability (classes,), above 0.
    """
    return np.asarray(probabilities, np.float64) / np.asarray(prevalence, np.float64)


def in_set(probabilities: ArrayLike, spec: SetSpec, coverage: float) -> NDArray[np.bool_]:
    """Return which classes each photo may show, bool (n, classes).

    The sets hold the true class of a share ``coverage`` (0 to 1) of photos like the validation
    photos.  A set may be empty: then no class is as probable as that of most photos.
    """
    return prevalence_ratio(probabilities, spec.prevalence) >= spec.ratio(coverage)


def unknown_score(logits: NDArray[np.floating[Any]], temperature: float, name: str) -> Floats:
    """Return a score of each photo (n,) from its logits (n, classes); low if it may show no class.

    ``name`` is one of

    - ``energy``: log(sum(exp(logits / temperature))) (Liu, Wang, Owens, Li 2020, "Energy-based
      Out-of-distribution Detection");
    - ``max_logit``: the largest logit (Hendrycks et al. 2022, "Scaling Out-of-Distribution
      Detection for Real-World Settings");
    - ``max_probability``: the largest of the probabilities softmax(logits / temperature)
      (Hendrycks, Gimpel 2017, "A Baseline for Detecting Misclassified and Out-of-Distribution
      Examples").
    """
    scaled = np.asarray(logits, np.float64) / temperature
    if name == "energy":
        return np.asarray(np.logaddexp.reduce(scaled, axis=1))
    if name == "max_logit":
        return np.asarray(scaled.max(axis=1) * temperature)
    return np.asarray(np.exp(scaled.max(axis=1) - np.logaddexp.reduce(scaled, axis=1)))


def strangeness(scores: ArrayLike, spec: UnknownSpec) -> Floats:
    """Return the share of the validation photos that are less strange than each photo, 0 to 1.

    ``scores`` (n,) are of :func:`unknown_score`.  Of photos like the validation photos, a share of
    1 - s has a strangeness above s.
    """
    ranks = np.linspace(1.0, 0.0, len(spec.quantiles))
    return np.asarray(np.interp(np.asarray(scores, np.float64), spec.quantiles, ranks))
