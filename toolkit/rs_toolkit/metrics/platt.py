"""Platt scaling: what makes log odds of two kinds mean what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rs_toolkit.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["fit_platt"]

# What a kit may hold; see rs_runtime.kit.manifest.
_LOW, _HIGH = 1e-3, 1e3
_STEPS = 100
_HALVINGS = 40
_RIDGE = 1e-12
_FLAT = 1e-10


def fit_platt(odds: ArrayLike, truth: ArrayLike) -> tuple[float, float]:
    """Fit temperature and bias so that ``sigmoid(odds / temperature + bias)`` is the probability.

    Minimises the cross-entropy with Platt's smoothed targets, ``(n1 + 1) / (n1 + 2)`` for the n1
    photos that are true and ``1 / (n0 + 2)`` for the n0 others, by Newton's method with halved
    steps.  The targets keep the fit finite where the odds separate both kinds without error.  The
    loss is convex, so that where its minimum lies outside the temperature's range the best one
    inside is at its end: odds that tell nothing, or the opposite, give the highest temperature.

    Parameters
    ----------
    odds : array of shape (n,)
        Log odds of photos that were not trained on (the validation photos), any finite number.
    truth : boolean array of shape (n,)
        What they are; at least one of each kind.

    Returns
    -------
    tuple
        Temperature, 0.001 to 1000, and bias, a finite number.

    Raises
    ------
    DataError
        Shapes that do not fit, a kind without photos, or odds that are not finite.

    References
    ----------
    Platt (1999), Probabilistic outputs for support vector machines, section 2.2; Lin, Lin, Weng
    (2007), A note on Platt's probabilistic outputs for support vector machines.
    """
    scores, true = np.asarray(odds, np.float64), np.asarray(truth).astype(bool)
    if scores.ndim != 1 or scores.shape != true.shape or true.all() or not true.any():
        raise DataError(
            f"Platt scaling: got odds {scores.shape} and truth {true.shape} with {true.sum()} "
            "true; wanted (n,) twice, and photos of both kinds; are there validation photos?"
        )
    if not np.isfinite(scores).all():
        raise DataError("Platt scaling: some odds are not finite; the model is broken")
    ones, zeros = int(true.sum()), int((~true).sum())
    targets = np.where(true, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    # Newton's steps do not depend on the unit, but rounding does.
    unit = float(np.abs(scores).max()) or 1.0
    rows = np.stack([scores / unit, np.ones(len(scores))], axis=1)
    start = np.array([0.0, np.log((ones + 1) / (zeros + 1))])
    slope, bias = _minimum(rows, np.zeros(len(rows)), targets, start)
    slope /= unit
    if not 1 / _HIGH <= slope <= 1 / _LOW:
        slope = min(max(slope, 1 / _HIGH), 1 / _LOW)
        [bias] = _minimum(rows[:, 1:], slope * scores, targets, np.array([bias]))
    return float(1 / slope), float(bias)


def _minimum(
    rows: NDArray[np.float64],
    fixed: NDArray[np.float64],
    targets: NDArray[np.float64],
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the x of least cross-entropy of ``sigmoid(rows @ x + fixed)`` with the targets."""

    def loss(at: NDArray[np.float64]) -> float:
        logits = rows @ at + fixed
        return float(np.sum(np.logaddexp(0, logits) - targets * logits))

    x, now = start, loss(start)
    for _ in range(_STEPS):
        p = 0.5 * (1 + np.tanh((rows @ x + fixed) / 2))
        gradient = rows.T @ (p - targets)
        if np.abs(gradient).max() <= _FLAT * len(rows):
            break
        curvature = rows.T @ (rows * (p * (1 - p))[:, None]) + _RIDGE * np.eye(len(x))
        step = np.linalg.solve(curvature, gradient)
        share = next((0.5**i for i in range(_HALVINGS) if loss(x - 0.5**i * step) < now), 0.0)
        if not share:
            break
        x = x - share * step
        now = loss(x)
    return x
