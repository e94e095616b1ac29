from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_toolkit.batches.oversampling import (
    Shares,
    class_sizes,
    class_targets,
    epoch_order,
    photo_weights,
)
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=80).map(lambda x: np.array(x, np.int64))


def alone(labels: np.ndarray) -> Shares:
    """No photo has a copy, and all weigh 1."""
    return Shares(np.arange(len(labels)), np.ones(len(labels)))


@pytest.mark.parametrize(
    ("balance", "expected"),
    [(0.0, [100, 25, 4, 0]), (0.5, [100, 50, 20, 0]), (1.0, [100, 100, 100, 0])],
)
def test_targets_interpolate_between_none_square_root_and_full(balance, expected) -> None:
    assert class_targets(np.array([100, 25, 4, 0]), balance).tolist() == expected


@settings(deadline=None)
@given(LABELS, st.floats(0, 1), st.integers(0, 9))
def test_an_epoch_meets_every_target_evenly(labels, balance, epoch) -> None:
    order = epoch_order(labels, balance, 0, epoch, alone(labels))
    targets = class_targets(np.bincount(labels), balance)
    assert np.array_equal(np.bincount(labels[order], minlength=len(targets)), targets)
    seen = np.bincount(order, minlength=len(labels))
    for number in np.unique(labels):
        of_class = seen[labels == number]
        assert of_class.min() >= 1
        assert of_class.max() - of_class.min() <= 1


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        labels = np.repeat([0, 1, 2], [30, 10, 3])
        return epoch_order(labels, 0.5, seed, epoch, alone(labels)).tolist()

    assert order(1, 4) == order(1, 4)
    assert order(1, 4) != order(1, 5)
    assert order(1, 4) != order(2, 4)


def test_weights_equal_oversampling() -> None:
    labels = np.repeat([0, 1], [16, 4])
    weights = photo_weights(labels, 1.0, alone(labels))
    assert weights[labels == 0].sum() == weights[labels == 1].sum() == 16


@st.composite
def shared(draw):
    """Labels, and shares of photos of which some are copies and some weigh less."""
    labels = draw(LABELS)
    size = len(labels)
    groups = draw(st.lists(st.integers(0, 20), min_size=size, max_size=size))
    weights = draw(st.lists(st.sampled_from([0, 0.1, 0.5, 1, 1]), min_size=size, max_size=size))
    weights[0] = 1
    return labels, Shares(np.array(groups, np.int64), np.array(weights, np.float64))


def shows(labels, shares, balance=1.0, epochs=1) -> np.ndarray:
    """Count how often each photo is seen in some epochs, shape (epochs, n)."""
    return np.array(
        [
            np.bincount(epoch_order(labels, balance, 0, epoch, shares), minlength=len(labels))
            for epoch in range(epochs)
        ]
    )


@settings(deadline=None)
@given(shared(), st.floats(0, 1), st.integers(0, 9))
def test_an_epoch_meets_every_target_and_every_groups_part_of_it(data, balance, epoch) -> None:
    labels, shares = data
    order = epoch_order(labels, balance, 0, epoch, shares)
    sizes = class_sizes(labels, shares)
    targets = class_targets(sizes, balance)
    assert np.array_equal(np.bincount(labels[order], minlength=len(targets)), targets)
    seen = np.bincount(order, minlength=len(labels))
    assert not seen[shares.weights == 0].any()
    for label, group in set(zip(labels.tolist(), shares.groups.tolist(), strict=True)):
        members = (labels == label) & (shares.groups == group)
        weights = shares.weights[members]
        if weights.any():
            expected = targets[label] * weights.max() / sizes[label]
            assert abs(seen[members].sum() - expected) < 1 + 1e-9
            of_member = seen[members].sum() * weights / weights.sum()
            assert np.abs(seen[members] - of_member).max() < 1 + 1e-9


def test_copies_do_not_make_a_class_larger() -> None:
    """Class 0: 4 photos and a burst of 16; class 1: 5 photos; class 2: 10, of half the weight."""
    labels = np.repeat([0, 1, 2], [20, 5, 10])
    groups = np.r_[0:4, [4] * 16, 5:20]
    shares = Shares(groups, np.repeat([1.0, 0.5], [25, 10]))
    assert class_sizes(labels, shares).tolist() == [5, 5, 5]
    seen = shows(labels, shares)[0]
    assert seen[:4].tolist() == [1] * 4
    assert seen[4:20].sum() == 1
    assert seen[20:25].tolist() == [1] * 5
    assert sorted(seen[25:]) == [0] * 5 + [1] * 5


def test_the_photos_of_a_group_take_turns() -> None:
    labels, shares = np.zeros(7, np.int64), Shares(np.array([0] * 6 + [1]), np.ones(7))
    seen = shows(labels, shares, epochs=60)[:, :6]
    assert (seen.sum(1) == 1).all()
    assert all(9 <= number <= 11 for number in seen.sum(0))
    for start in range(45):
        assert (seen[start : start + 15].sum(0) > 0).all(), "unseen for 15 epochs"


def test_photos_are_seen_in_proportion_to_their_weights() -> None:
    weights = np.array([1, 0.25, 0.25, 0, 1, 0.5, 0.1])
    labels, shares = np.zeros(7, np.int64), Shares(np.array([0, 0, 0, 0, 1, 2, 3]), weights)
    mean = shows(labels, shares, epochs=2000).mean(0)
    expected = photo_weights(labels, 1.0, shares)
    # The class's size of 2.6 makes a target of 3.
    assert np.allclose(expected, np.r_[[2 / 3, 1 / 6, 1 / 6, 0], [1, 0.5, 0.1]] * 3 / 2.6)
    assert np.abs(mean - expected).max() < 0.03


@settings(deadline=None)
@given(shared(), st.floats(0, 1))
def test_weights_of_a_class_sum_to_its_target(data, balance) -> None:
    labels, shares = data
    weights = photo_weights(labels, balance, shares)
    targets = class_targets(class_sizes(labels, shares), balance)
    assert np.allclose(np.bincount(labels, weights, minlength=len(targets)), targets)
    assert np.array_equal(weights == 0, shares.weights == 0)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("balance", [0.5, 1.0])
def test_small_classes_are_not_starved_wherever_they_come(order, balance) -> None:
    """Large first or large last in the alphabet: each has its target in every epoch."""
    counts = np.array([400, 60, 9, 3, 1])[::order]
    labels = np.repeat(np.arange(5), counts)
    # Copies in the large class, doubts about the small ones.
    weights = np.where(counts[labels] < 10, 0.2, 1.0)
    groups = np.arange(len(labels))
    groups[counts[labels] == 400] = 1000 + np.arange(400) // 2
    shares = Shares(groups, weights)
    sizes = {400: 200, 60: 60, 9: 1.8, 3: 0.6, 1: 0.2}
    targets = class_targets(np.array([sizes[n] for n in counts]), balance)
    assert targets.min() >= 200**balance * 0.2 ** (1 - balance) - 0.5
    for epoch in range(5):
        seen = np.bincount(labels[epoch_order(labels, balance, 3, epoch, shares)], minlength=5)
        assert np.array_equal(seen, targets)


def test_a_class_of_little_weight_is_seen_once_and_one_of_none_never() -> None:
    labels, shares = np.array([0, 0, 1, 2]), Shares(np.arange(4), np.array([1, 1, 0.01, 0]))
    assert shows(labels, shares, balance=0.0)[0].tolist() == [1, 1, 1, 0]


def test_without_groups_and_weights_the_order_is_as_before_there_were_any() -> None:
    """Fails when the method changes."""
    labels = np.repeat([0, 1], [4, 1])
    assert epoch_order(labels, 0.5, 0, 0, alone(labels)).tolist() == [4, 3, 2, 4, 1, 0]


def test_shares_of_photos(one_line) -> None:
    def photo(group: str | None, weight: float = 1.0) -> Photo:
        return Photo("a.jpg", Taxon(family="felidae"), group=group, weight=weight)

    shares = Shares.of([photo("x"), photo(None), photo("y", 0.5), photo("x", 0), photo(None)])
    assert shares.groups.tolist() == [0, 1, 2, 0, 3]
    assert shares.weights.tolist() == [1, 1, 0.5, 0, 1]
    for weight in (-0.1, 1.5, float("nan")):
        with pytest.raises(DataError, match="wanted 0 to 1") as caught:
            Shares.of([photo(None, weight)])
        one_line(str(caught.value))


def test_nothing_to_show_is_said(one_line) -> None:
    labels, shares = np.array([0, 1]), Shares(np.arange(2), np.zeros(2))
    assert photo_weights(labels, 0.5, shares).tolist() == [0, 0]
    with pytest.raises(DataError, match="all of weight 0") as caught:
        epoch_order(labels, 0.5, 0, 0, shares)
    one_line(str(caught.value))
