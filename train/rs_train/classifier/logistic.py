"""Multinomial logistic regression at several strengths of the L2 penalty.

For n rows x_i of weight w_i and class y_i, and an inverse strength C of the penalty, this finds the
kernel W and the bias b that minimize

    C * sum_i w_i * cross_entropy(softmax(x_i W + b), y_i) + ||W||^2 / 2,

which is what scikit-learn's ``LogisticRegression`` minimizes.  The objective is convex, and the
optimum is found by L-BFGS (Liu and Nocedal 1989).  Three things save steps:

- Features are rotated to the principal axes of the weighted rows.  That changes neither products
  nor the penalty, and where there are fewer rows than features it leaves no more axes than rows.
- On these axes the curvature is nearly diagonal: of axis j and class k about
  c_k * d_j + 1 / C, where d_j is the eigenvalue of X^T diag(w) X, and c_k the weighted mean of
  p_k (1 - p_k).  Each variable is divided by the root of its curvature.
- Each solution starts at that of the next stronger penalty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["solve_path"]

_STEPS = 200
_TOLERANCE = 3e-4  # nearer to the optimum, validation photos are named no better (decision 0020)
_MIN_CURVATURE = 1e-6

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def solve_path(
    features: Floats,
    labels: NDArray[np.int64],
    weights: Doubles,
    strengths: Sequence[float],
    tolerance: float = _TOLERANCE,
) -> Iterator[tuple[Doubles, Doubles]]:
    """Yield kernel (channels, classes) and bias (classes,) for each of ``strengths``.

    A solution is computed when it is asked for.  The same input gives the same numbers, except that
    another number of threads rounds differently.

    Parameters
    ----------
    features
        Rows, (n, channels), float32: standardized, with a weighted mean of about 0.
    labels
        Class numbers, (n,), of 0 to classes - 1, each with a row.
    weights
        Of the rows, (n,), above 0.
    strengths
        scikit-learn's C, the inverse strength of the penalty, in rising order.  As there, two
        classes have half the penalty's share: one row of coefficients is penalized, not two.
    tolerance
        A solution is reached where a step lowers the objective by this share of it, or by less.
    """
    axes, spread = _principal_axes(features, weights)
    # The last column is the bias, which has no penalty.
    rows = np.column_stack([features @ axes, np.ones(len(features), np.float32)])
    spread = np.append(spread, weights.sum())
    shares = np.bincount(labels, weights) / weights.sum()
    found = np.zeros((rows.shape[1], len(shares)))
    found[-1] = np.log(shares)
    curvature = shares * (1 - shares)
    for strength in strengths:
        penalty = np.full((len(spread), 1), (2 if len(shares) == 2 else 1) / strength)
        penalty[-1] = 0
        scale = 1 / np.sqrt(np.maximum(curvature, _MIN_CURVATURE) * spread[:, None] + penalty)
        loss = _loss(rows, labels, weights)
        found = _minimize(loss, found, penalty, scale, tolerance)
        probabilities = _softmax(rows @ found.astype(np.float32))[0]
        curvature = weights @ (probabilities * (1 - probabilities)) / weights.sum()
        yield axes @ found[:-1], found[-1]


def _principal_axes(features: Floats, weights: Doubles) -> tuple[Floats, Doubles]:
    """Return axes (channels, r) whose span holds all rows, and the weighted squares on each."""
    from scipy.linalg import eigh, qr

    weighted = features * np.sqrt(weights, dtype=np.float32)[:, None]
    basis = None
    if len(features) < features.shape[1]:
        basis = qr(weighted.T, mode="economic")[0]
        weighted = weighted @ basis
    spread, axes = eigh(weighted.T @ weighted, driver="evd")
    return axes if basis is None else basis @ axes, np.maximum(spread, 0).astype(np.float64)


def _loss(
    rows: Floats, labels: NDArray[np.int64], weights: Doubles
) -> Callable[[Doubles], tuple[float, Floats]]:
    """Return a function from kernel (r, classes) to the weighted cross-entropy and its gradient."""
    numbers, row_weights = np.arange(len(labels)), weights.astype(np.float32)[:, None]

    def loss(kernel: Doubles) -> tuple[float, Floats]:
        logits = rows @ kernel.astype(np.float32)
        errors, log_sums = _softmax(logits)
        value = weights @ (log_sums - logits[numbers, labels])
        errors[numbers, labels] -= 1
        errors *= row_weights
        return float(value), rows.T @ errors

    return loss


def _softmax(logits: Floats) -> tuple[Floats, Floats]:
    """Return probabilities (n, classes), and the logarithm (n,) of the sum of exp(logits)."""
    highest = logits.max(1, keepdims=True)
    powers = np.exp(logits - highest)
    sums = powers.sum(1, keepdims=True)
    powers /= sums
    return powers, (np.log(sums) + highest)[:, 0]


def _minimize(
    loss: Callable[[Doubles], tuple[float, Floats]],
    start: Doubles,
    penalty: Doubles,
    scale: Doubles,
    tolerance: float,
) -> Doubles:
    """Return the minimum of ``loss`` plus the L2 penalty; variables are divided by ``scale``."""
    from scipy.optimize import minimize

    def scaled(flat: Doubles) -> tuple[float, Doubles]:
        kernel = flat.reshape(scale.shape) * scale
        value, gradient = loss(kernel)
        pulled = penalty * kernel
        return value + float((pulled * kernel).sum()) / 2, ((gradient + pulled) * scale).ravel()

    options = {"maxiter": _STEPS, "ftol": tolerance, "gtol": 0.0}
    found = minimize(scaled, (start / scale).ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x).reshape(scale.shape) * scale
