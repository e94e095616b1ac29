"""Out-of-fold probabilities: each photo's classes by classifiers that were fitted without it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.checks.labels.noise_model import fit_share, log_likelihood, own_probability
from rs_toolkit.splits.folds import deal_folds

__all__ = ["group_numbers", "label_votes", "out_of_fold"]

Features = NDArray[np.float32]
Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]

_COMPONENTS = 256
# Inverse L2 strength C, for features of mean squared length 1.
_STRENGTH = 20.0
# A photo whose cosine similarity is higher by this has e times the vote.
_TEMPERATURE = 0.05
# Added to classes that were learnt, so that the probability 0 always means: not learnt.
_LEAST = 1e-9
_POWERS = (0.25, 4.0)
# The solvers take many small steps, after each of which threads wait for each other: two threads
# took 3 to 19 s on 2 idle cores, and over 100 s on busy ones, for what one thread does in 2 s.
_THREADS = 1
# Photos whose similarities are computed at once: 16 MiB of float32, and matrices that are large
# enough for all cores.
_ROWS, _COLUMNS = 512, 8192


def out_of_fold(
    features: Features,
    labels: Numbers,
    groups: Sequence[str | None] | None = None,
    *,
    classes: int,
    folds: int = 5,
    seed: int = 0,
) -> Floats:
    """Return each photo's class probabilities by classifiers that were fitted without it.

    Features are standardized and reduced to 256 principal components.  For each fold, two
    classifiers are fitted on the other folds.  The geometric mean of their probabilities is taken
    (logarithmic opinion pool: Genest, Zidek 1986), because they err on different photos:

    - multinomial logistic regression, each class with the same total weight;
    - votes of the photos of the other folds, each of weight ``exp(cosine / 0.05)`` (kernel
      regression: Nadaraya 1964, Watson 1964).

    Finally, all probabilities are raised to one power, and normalized.  The power is the one under
    which the labels are most likely by :mod:`rs_toolkit.checks.labels.noise_model`.  This is
    temperature scaling (Guo et al. 2017) that allows for wrong labels.

    Parameters
    ----------
    features : shape (n, d), finite
    labels : shape (n,), 0 to classes - 1, of at least two classes
    groups : n names, equal for near-duplicates; None: a photo without duplicates
        A group is kept in one fold, because a copy would reveal the label, and counts as one photo.
        There are at least two groups.
    classes : 2 or more
    folds : at least 2; each class is spread evenly over them

    Returns
    -------
    float64 array of shape (n, classes)
        Rows add up to 1.  0 means that the other folds had no photo of the class: it could not
        be learnt, so nothing is known about a photo with this label.
    """
    group = group_numbers(groups, len(labels))
    _, first = np.unique(group, return_index=True)
    table = _components(features.astype(np.float32), first, seed)
    # The seed (seed, 0) gives the folds with which benchmarks/results were measured.
    fold = deal_folds(labels, group, folds, np.random.default_rng((seed, 0)))
    return _sharpen(_predict_folds(table, labels, group, fold, classes), labels, first)


def group_numbers(groups: Sequence[str | None] | None, count: int) -> Numbers:
    """Return a number for each of ``count`` photos, equal for photos of one group.

    ``groups`` holds the name of each photo's group, None for a photo without one.  Instead of the
    list, None means that no photo has a group.
    """
    names = [None] * count if groups is None else groups
    known: dict[str, int] = {}
    # Photos without a group get negative numbers, which no group has.
    raw = [
        -1 - row if name is None else known.setdefault(name, len(known))
        for row, name in enumerate(names)
    ]
    return np.unique(raw, return_inverse=True)[1].astype(np.int64)


def _components(features: Features, first: Numbers, seed: int) -> Features:
    """Standardize, project to principal components, and scale to a mean squared length of 1.

    All of this is fitted to the photos ``first``, one of each group.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    deviation = features[first].std(axis=0)
    scale = np.where(deviation > 0, deviation, 1)
    standard = (features - features[first].mean(axis=0)) / scale
    reduce = PCA(min(_COMPONENTS, len(first), features.shape[1]), random_state=seed)
    # If all photos have equal features, PCA divides by their variance, which is 0.
    with threadpool_limits(_THREADS), np.errstate(invalid="ignore"):
        rotated = reduce.fit(standard[first]).transform(standard)
    length = np.sqrt(np.mean(np.sum(rotated[first] ** 2, axis=1)))
    return np.asarray(rotated / (length if length > 0 else 1), np.float32)


def _predict_folds(
    features: Features, labels: Numbers, group: Numbers, fold: Numbers, classes: int
) -> Floats:
    """Return probabilities (n, classes): each fold's photos by classifiers of the other folds."""
    once = 1 / np.bincount(group)[group]
    votes = label_votes(features, labels, once, fold, classes)
    found = np.zeros((len(labels), classes))
    for number in np.unique(fold):
        train, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        present, given = np.unique(labels[train], return_inverse=True)
        pooled = _LEAST + votes[np.ix_(held, present)]
        if len(present) > 1:
            fitted = _regression(features[train], given, once[train], features[held])
            pooled = np.sqrt(pooled * (_LEAST + fitted))
        found[np.ix_(held, present)] = pooled / pooled.sum(axis=1, keepdims=True)
    return found


def _regression(features: Features, labels: Numbers, weights: Floats, held: Features) -> Floats:
    """Return probabilities (held, classes) by class-balanced logistic regression."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    balanced = weights / np.bincount(labels, weights)[labels]
    # A tolerance ten times smaller takes twice as long and ranks labels no better.
    solver = LogisticRegression(C=_STRENGTH, max_iter=200, tol=2e-4)
    with threadpool_limits(_THREADS), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        solver.fit(features, labels, sample_weight=balanced * weights.sum() / balanced.sum())
    return np.asarray(solver.predict_proba(held), np.float64)


def label_votes(
    features: Features, labels: Numbers, weights: Floats, fold: Numbers, classes: int
) -> Floats:
    """Return each class's share, 0 to 1, of the votes of the other folds, (n, classes).

    ``features`` are (n, d); ``labels``, ``weights`` and ``fold`` (n,).  Exact; each similarity is
    computed once, for the votes of both photos.
    """
    from sklearn.preprocessing import normalize

    # Photos of a fold, and in it of a class, stand together.
    order = np.lexsort((labels, fold))
    unit, label, weight = normalize(features[order]), labels[order], weights[order]
    weight = weight.astype(np.float32)
    found = np.zeros((len(labels), classes))
    ends = [*np.flatnonzero(np.diff(fold[order], prepend=-1)).tolist(), len(labels)]
    parts = list(pairwise(ends))
    for number, part in enumerate(parts):
        later = [block for other in parts[number + 1 :] for block in _blocks(*other, _COLUMNS)]
        for rows in _blocks(*part, _ROWS):
            for others in later:
                alike = unit[rows] @ unit[others].T
                # At most 1, so that float32 holds all of them: exp(-40) at least.
                votes = np.exp((alike - 1) / np.float32(_TEMPERATURE), out=alike)
                _count(found, order[rows], label[others], votes * weight[others], 1)
                _count(found, order[others], label[rows], votes * weight[rows, None], 0)
    return found / found.sum(axis=1, keepdims=True)


def _blocks(first: int, last: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, last)) for start in range(first, last, size)]


def _count(found: Floats, voted: Numbers, label: Numbers, votes: Features, axis: int) -> None:
    """Add each class's votes, which lie along an axis, to the rows ``voted`` of ``found``.

    ``label`` are the classes of the voters; all voters of a class stand together.
    """
    starts = np.flatnonzero(np.diff(label, prepend=-1))
    sums = np.add.reduceat(votes, starts, axis)
    found[np.ix_(voted, label[starts])] += sums if axis else sums.T


def _sharpen(probabilities: Floats, labels: Numbers, first: Numbers) -> Floats:
    """Raise probabilities to the power that makes the labels of ``first`` most likely."""
    from scipy.optimize import minimize_scalar

    classes = probabilities.shape[1]
    learnt = first[own_probability(probabilities, labels)[first] > 0]

    def raised(power: float) -> Floats:
        result = (probabilities / probabilities.max(axis=1, keepdims=True)) ** power
        return np.asarray(result / result.sum(axis=1, keepdims=True))

    def surprise(power: float) -> float:
        own = own_probability(raised(power), labels)[learnt]
        return -log_likelihood(own, classes, fit_share(own, classes))

    if not len(learnt):
        return probabilities
    best = minimize_scalar(surprise, bounds=_POWERS, method="bounded", options={"xatol": 0.02})
    return raised(float(best.x))
