"""The gate of before: a variant was refused only where its loss was shown to be more than noise.

``gate_power.py`` sets it beside the gate of today; docs/decisions/0016 says what was wrong with it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["old_gate_passed"]

Classes = NDArray[np.int64]
Scores = NDArray[np.float64]


def old_gate_passed(
    truth: Classes, one: Classes, two: Classes, classes: int, limits: tuple[float, float]
) -> bool:
    """Return whether predictions ``two`` passed against ``one``, (n,) each.

    ``limits`` are the largest losses of macro-F1 and of worst-decile F1, 0 to 1.  Photos, not
    groups of them, are drawn 1000 times.
    """
    draws = np.random.default_rng(0).multinomial(
        len(truth), np.full(len(truth), 1 / len(truth)), 1000
    )
    weights = np.vstack([np.ones(len(truth)), draws]).astype(np.float32)
    before, after = (_scores(truth, predicted, classes, weights) for predicted in (one, two))
    drops = before - after
    beyond = (drops[0] > np.array(limits) + 1e-8) & (np.quantile(drops[1:], 0.05, axis=0) > 0)
    return not beyond.any()


def _scores(
    truth: Classes, predicted: Classes, classes: int, weights: NDArray[np.float32]
) -> Scores:
    """Return macro-F1 and worst-decile F1, (rounds, 2); ``weights`` (rounds, n) count photos."""
    numbers = np.arange(classes)
    is_true = (truth[:, None] == numbers).astype(np.float32)
    is_predicted = (predicted[:, None] == numbers).astype(np.float32)
    support, given = weights @ is_true, weights @ is_predicted
    hits = weights @ (is_true * is_predicted)
    f1 = 2 * hits / np.maximum(support + given, 1)
    ordered = np.sort(np.where(support > 0, f1.astype(np.float64), np.nan), axis=1)
    decile = np.maximum((support > 0).sum(axis=1, keepdims=True) // 10, 1)
    worst = np.where(numbers < decile, ordered, np.nan)
    return np.stack([np.nanmean(ordered, axis=1), np.nanmean(worst, axis=1)], axis=1)
