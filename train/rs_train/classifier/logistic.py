"""Multinomial logistic regression at several strengths of the L2 penalty.

For n rows x_i of weight w_i and class y_i, and an inverse strength C of the penalty, this finds the
kernel W and the bias b that minimize

    sum_i w_i * cross_entropy(softmax(x_i W + b), y_i) + ||W||^2 / (2 C),

which is what scikit-learn's ``LogisticRegression`` minimizes.  The objective is convex, and the
optimum is found by L-BFGS (Liu and Nocedal 1989; Nocedal and Wright 2006, algorithm 7.4).  These
save time:

- Features are rotated to the principal axes of the weighted rows, and axes without variance are
  dropped.  Neither changes the optimum.
- On these axes the curvature is nearly diagonal: of axis j and class k about
  c_k * d_j + 1 / C, where d_j is the weighted sum of squares on the axis, and c_k the weighted mean
  of p_k (1 - p_k).  L-BFGS starts from the inverse of this.
- Each solution starts where the line through the two before it leads.
- What L-BFGS knows of the curvature stays true at the next strength but for the penalty's share.
- Logits are linear in the kernel, so a shorter step needs no product with the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["solve_path"]

_STEPS = 200
_TRIES = 10  # of a step, each shorter than the one before
_PAIRS = 10  # of a step and its change of the gradient, which L-BFGS remembers
_TOLERANCE = 5e-4  # nearer to the optimum, validation photos are named no better (decision 0020)
_MIN_CURVATURE = 1e-6
_MIN_SPREAD = 1e-6  # of the greatest: less is rounding of float32

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Memory = list[tuple[Floats, Floats]]


def solve_path(
    features: Floats,
    labels: NDArray[np.int64],
    weights: Doubles,
    strengths: Sequence[float],
    tolerance: float = _TOLERANCE,
    views: int = 1,
    share: float = 1.0,
) -> Iterator[tuple[Floats, Floats]]:
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
    views
        So many rows in a row are views of one photo.
    share
        Of the variance of the photos, each the mean of its views, that the axes must hold, 0 to 1.
        Below 1, this is the optimum of all kernels in the span of these axes.
    """
    axes = _principal_axes(features, weights, views, share)
    # The last column is the bias, which has no penalty.
    rows = _Rows(np.column_stack([features @ axes, np.ones(len(features), "f")]), labels, weights)
    for found in _path(rows, strengths, tolerance):
        yield axes @ found.kernel[:-1], found.kernel[-1]


def _principal_axes(features: Floats, weights: Doubles, views: int, share: float) -> Floats:
    """Return orthonormal axes (channels, r) that hold ``share`` of the variance of the photos."""
    from scipy.linalg import eigh

    rows = features * np.sqrt(weights, dtype=np.float32)[:, None]
    photos = rows.reshape(-1, views, rows.shape[1]).sum(1)
    few = len(photos) < photos.shape[1]
    spread, axes = eigh(photos @ photos.T if few else photos.T @ photos, driver="evd")
    held = np.cumsum(np.maximum(spread, 0), dtype=np.float64)  # the least first
    kept = (held > (1 - share) * held[-1]) & (spread > _MIN_SPREAD * spread[-1])
    axes = axes[:, kept]
    return photos.T @ (axes / np.sqrt(spread[kept])) if few else axes


@dataclass(frozen=True)
class _Point:
    """A kernel (r, classes), and its logits and probabilities of the rows (n, classes)."""

    kernel: Floats
    logits: Floats
    probabilities: Floats
    loss: float

    def objective(self, penalty: Floats) -> float:
        return self.loss + float((penalty * self.kernel * self.kernel).sum(dtype=np.float64)) / 2


class _Rows:
    def __init__(self, features: Floats, labels: NDArray[np.int64], weights: Doubles) -> None:
        self.features, self.weights = features, weights.astype(np.float32)
        self.own = np.arange(len(labels)), labels
        self.spread = self.weights @ np.square(features)

    def start(self) -> _Point:
        """Return the point that predicts the weighted shares of the classes."""
        shares = np.bincount(self.own[1], self.weights) / self.weights.sum()
        kernel = np.zeros((self.features.shape[1], len(shares)), np.float32)
        kernel[-1] = np.log(shares)
        return self.point(kernel, self.features @ kernel)

    def point(self, kernel: Floats, logits: Floats) -> _Point:
        shifted = logits - logits.max(1, keepdims=True)
        own = shifted[self.own]
        powers = np.exp(shifted, out=shifted)
        sums = powers.sum(1)
        powers /= sums[:, None]
        losses = (np.log(sums) - own).astype(np.float64)
        return _Point(kernel, logits, powers, float(self.weights @ losses))

    def moved(self, point: _Point, step: Floats, by: Floats, size: float) -> _Point:
        """Return the point after ``size`` times a step, which changes logits by ``by``."""
        share = np.float32(size)
        return self.point(point.kernel + share * step, point.logits + share * by)

    def gradient(self, point: _Point, penalty: Floats) -> Floats:
        errors = point.probabilities.copy()
        errors[self.own] -= 1
        errors *= self.weights[:, None]
        return self.features.T @ errors + penalty * point.kernel

    def inverse_curvature(self, point: _Point, penalty: Floats) -> Floats:
        """Return the inverse of the diagonal of the curvature that the module's text names."""
        varying = point.probabilities * (1 - point.probabilities)
        classes = self.weights @ varying / self.weights.sum()
        return 1 / (np.maximum(classes, _MIN_CURVATURE) * self.spread[:, None] + penalty)


def _path(rows: _Rows, strengths: Sequence[float], tolerance: float) -> Iterator[_Point]:
    before = found = rows.start()
    penalty = np.zeros((len(found.kernel), 1), np.float32)
    pull = 2 if found.kernel.shape[1] == 2 else 1
    memory: Memory = []
    for strength in strengths:
        old, penalty = penalty, np.full_like(penalty, pull / strength)
        penalty[-1] = 0
        memory = [(step, change + (penalty - old) * step) for step, change in memory]
        start = _guess(rows, before, found, penalty)
        before, found = found, _minimize(rows, start, penalty, memory, tolerance)
        yield found


def _guess(rows: _Rows, before: _Point, found: _Point, penalty: Floats) -> _Point:
    """Go on from ``before`` over ``found`` as long as it lowers the objective."""
    step, by = found.kernel - before.kernel, found.logits - before.logits
    if not step.any():
        return found
    guesses = (rows.moved(found, step, by, size) for size in (1, 0.5, 0.25))
    least = found.objective(penalty)
    return next((guess for guess in guesses if guess.objective(penalty) < least), found)


def _minimize(
    rows: _Rows, point: _Point, penalty: Floats, memory: Memory, tolerance: float
) -> _Point:
    """Return the minimum of the loss plus the L2 penalty; ``memory`` takes the steps made."""
    inverse = rows.inverse_curvature(point, penalty)
    gradient = rows.gradient(point, penalty)
    for _ in range(_STEPS):
        step = _direction(gradient, memory, inverse)
        reached = _line_search(rows, point, step, float(np.vdot(gradient, step)), penalty)
        if reached is None:
            break
        value = reached.objective(penalty)
        last, point = point, reached
        if last.objective(penalty) - value <= tolerance * value:
            break
        old, gradient = gradient, rows.gradient(point, penalty)
        memory.append((point.kernel - last.kernel, gradient - old))
        del memory[:-_PAIRS]
    return point


def _direction(gradient: Floats, memory: Memory, inverse: Floats) -> Floats:
    """Return the step of L-BFGS, by its recursion in two loops."""
    left, parts = gradient.copy(), []
    for step, change in reversed(memory):
        parts.append(np.vdot(step, left) / np.vdot(step, change))
        left -= parts[-1] * change
    left *= inverse
    if memory:
        step, change = memory[-1]
        left *= np.vdot(step, change) / np.vdot(change, inverse * change)
    for (step, change), part in zip(memory, reversed(parts), strict=True):
        left += (part - np.vdot(change, left) / np.vdot(step, change)) * step
    return -left


def _line_search(
    rows: _Rows, point: _Point, step: Floats, slope: float, penalty: Floats
) -> _Point | None:
    """Shorten the step until the objective falls enough (Armijo); None if it never does."""
    by, size, start = rows.features @ step, 1.0, point.objective(penalty)
    for _ in range(_TRIES):
        reached = rows.moved(point, step, by, size)
        excess = reached.objective(penalty) - start - size * slope
        if excess <= (1e-4 - 1) * size * slope:
            return reached
        # The minimum of the parabola through both values, with this slope at the start.
        size = max(size / 10, -slope * size * size / (2 * excess))
    return None
