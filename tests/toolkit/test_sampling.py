from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_toolkit.sampling import class_targets, epoch_order, photo_weights

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=80).map(lambda x: np.array(x, np.int64))


@pytest.mark.parametrize(
    ("balance", "expected"),
    [(0.0, [100, 25, 4, 0]), (0.5, [100, 50, 20, 0]), (1.0, [100, 100, 100, 0])],
)
def test_targets_interpolate_between_none_square_root_and_full(balance, expected) -> None:
    assert class_targets(np.array([100, 25, 4, 0]), balance).tolist() == expected


@settings(deadline=None)
@given(LABELS, st.floats(0, 1), st.integers(0, 9))
def test_an_epoch_meets_every_target_evenly(labels, balance, epoch) -> None:
    order = epoch_order(labels, balance, 0, epoch)
    targets = class_targets(np.bincount(labels), balance)
    assert np.array_equal(np.bincount(labels[order], minlength=len(targets)), targets)
    seen = np.bincount(order, minlength=len(labels))
    for number in np.unique(labels):
        of_class = seen[labels == number]
        assert of_class.min() >= 1
        assert of_class.max() - of_class.min() <= 1


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    labels = np.repeat([0, 1, 2], [30, 10, 3])
    assert np.array_equal(epoch_order(labels, 0.5, 1, 4), epoch_order(labels, 0.5, 1, 4))
    assert not np.array_equal(epoch_order(labels, 0.5, 1, 4), epoch_order(labels, 0.5, 1, 5))
    assert not np.array_equal(epoch_order(labels, 0.5, 1, 4), epoch_order(labels, 0.5, 2, 4))


def test_weights_equal_oversampling() -> None:
    labels = np.repeat([0, 1], [16, 4])
    weights = photo_weights(labels, 1.0)
    assert weights[labels == 0].sum() == weights[labels == 1].sum() == 16
