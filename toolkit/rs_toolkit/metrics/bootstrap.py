"""Test whether a model's lower score than another's on the same photos is more than chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Drop", "paired_drops"]

Classes = NDArray[np.int64]
Weights = NDArray[np.float32]
Scores = NDArray[np.float64]

_LEVEL = 0.95
_CELLS = 2**24  # most cells of the resampling matrix (rounds, n) in memory at a time


@dataclass(frozen=True)
class Drop:
    """How much lower a model's F1 score is than a reference's: -1 to 1, negative for a gain.

    ``drop`` is the difference on the photos as they are.  In 95 % of the resamples it is larger
    than ``low``; if ``low`` is above 0, the drop is more than noise.
    """

    drop: float
    low: float


def paired_drops(
    labels: ArrayLike,
    reference: ArrayLike,
    other: ArrayLike,
    classes: int,
    rounds: int = 1000,
    seed: int = 0,
) -> dict[str, Drop]:
    """Compare two models' predictions by a paired bootstrap over the photos.

    Each round draws n photos of the n, with replacement, and computes both models' scores on the
    same draw, so that photos that are hard for both cancel out.  Scores are ``macro_f1`` and
    ``worst_decile_f1`` of :mod:`rs_toolkit.metrics.classification`, over the drawn classes.

    Parameters
    ----------
    labels, reference, other
        True classes and those predicted by the two models, integers 0 to classes - 1, shape (n,),
        n >= 1.
    rounds
        Number of resamples, 1 or more.

    References
    ----------
    Efron, Tibshirani (1993), An Introduction to the Bootstrap, chapter 13 (percentile limits);
    Koehn (2004), Statistical significance tests for machine translation evaluation (pairing).
    """
    truth, one, two = (np.asarray(values) for values in (labels, reference, other))
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // len(truth))
    shares = np.full(len(truth), 1 / len(truth))

    def drops(weights: Weights) -> Scores:
        before, after = (_scores(truth, predicted, classes, weights) for predicted in (one, two))
        return before - after

    parts = [drops(np.ones((1, len(truth)), np.float32))]
    for start in range(0, rounds, step):
        weights = generator.multinomial(len(truth), shares, min(step, rounds - start))
        parts.append(drops(weights.astype(np.float32)))
    columns = np.concatenate(parts).T
    return {
        name: Drop(float(column[0]), float(np.quantile(column[1:], 1 - _LEVEL)))
        for name, column in zip(("macro_f1", "worst_decile_f1"), columns, strict=True)
    }


def _scores(truth: Classes, predicted: Classes, classes: int, weights: Weights) -> Scores:
    """Return macro-F1 and worst-decile F1, (rounds, 2); ``weights`` (rounds, n) count photos."""
    numbers = np.arange(classes)
    is_true = (truth[:, None] == numbers).astype(np.float32)
    is_predicted = (predicted[:, None] == numbers).astype(np.float32)
    support, given = weights @ is_true, weights @ is_predicted
    hits = weights @ (is_true * is_predicted)
    f1 = 2 * hits / np.maximum(support + given, 1)
    # Absent classes sort last, as NaN.
    ordered = np.sort(np.where(support > 0, f1.astype(np.float64), np.nan), axis=1)
    decile = np.maximum((support > 0).sum(axis=1, keepdims=True) // 10, 1)
    worst = np.where(numbers < decile, ordered, np.nan)
    return np.stack([np.nanmean(ordered, axis=1), np.nanmean(worst, axis=1)], axis=1)
