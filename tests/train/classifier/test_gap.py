"""The training photos on which overfitting is measured."""

from __future__ import annotations

import numpy as np

from rs_toolkit.batches.oversampling import Shares
from rs_train.classifier.gap import comparable_rows

# Class 0: 40 photos in bursts of 4.  Class 1: 6 photos, each alone.  Class 2: 2 photos.
LABELS = np.repeat([0, 1, 2], [40, 6, 2])
GROUPS = np.concatenate([np.arange(40) // 4, 10 + np.arange(8)])
VAL = np.repeat([0, 1, 2, 3], [10, 2, 5, 1])


def test_each_class_has_as_many_photos_as_in_validation_in_whole_groups() -> None:
    shares = Shares(GROUPS, np.ones(48))
    rows = comparable_rows(LABELS, shares, VAL, seed=0)
    # Class 2 has no more, and class 3 no training photo at all.
    assert np.bincount(LABELS[rows]).tolist() == [10, 2, 2]
    _, sizes = np.unique(GROUPS[rows[LABELS[rows] == 0]], return_counts=True)
    assert sorted(sizes.tolist()) == [2, 4, 4]
    assert len(set(rows.tolist())) == len(rows)
    again = comparable_rows(LABELS, shares, VAL, seed=0)
    assert np.array_equal(rows, again)
    assert not np.array_equal(rows, comparable_rows(LABELS, shares, VAL, seed=1))


def test_photos_that_training_never_shows_are_left_out() -> None:
    weights = np.ones(48)
    weights[:36] = 0
    rows = comparable_rows(LABELS, Shares(GROUPS, weights), VAL, seed=0)
    assert np.bincount(LABELS[rows]).tolist() == [4, 2, 2] and rows.min() >= 36
    assert len(comparable_rows(LABELS, Shares(GROUPS, 0 * weights), VAL, seed=0)) == 0
