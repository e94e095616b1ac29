from __future__ import annotations

import numpy as np
import pytest

from rs_toolkit.metrics.classification import macro_f1
from rs_toolkit.metrics.intervals import Estimate, macro_f1_estimate, share_estimate


def test_values_are_those_of_the_photos() -> None:
    generator = np.random.default_rng(0)
    true, given = generator.integers(0, 7, (2, 60))
    groups = np.arange(60) // 2
    found = macro_f1_estimate(true, given, 9, groups)
    assert found is not None and found.value == pytest.approx(macro_f1(true, given, 9))
    share = share_estimate(true == given, groups)
    assert share is not None and share.value == np.mean(true == given)
    for item in (found, share):
        assert 0 <= item.low <= item.value <= item.high <= 1


def test_no_photo_has_no_score_and_one_group_no_limits() -> None:
    assert share_estimate([], []) is None and macro_f1_estimate([], [], 3, []) is None
    assert share_estimate([True, False], [5, 5]) == Estimate(0.5, None, None)
    assert macro_f1_estimate([0, 1], [0, 1], 2, [5, 5]) == Estimate(1.0, None, None)


def test_all_right_is_not_certain() -> None:
    # The limit of Clopper and Pearson: of ten, all right with 2.5 % if the true share is 0.69.
    found = share_estimate(np.ones(20, bool), np.repeat(np.arange(10), 2))
    assert found is not None and (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 10))
    assert macro_f1_estimate(*[np.arange(20) % 5] * 2, 5, np.repeat(np.arange(10), 2)) == found
    none = share_estimate(np.zeros(10, bool), np.arange(10))
    assert none is not None and (none.low, none.high) == (0.0, pytest.approx(1 - 0.025**0.1))


@pytest.mark.parametrize("estimate", ["share", "macro_f1"])
def test_copies_within_a_group_change_nothing(estimate) -> None:
    generator = np.random.default_rng(1)
    true, given = generator.integers(0, 3, (2, 40))

    def of(true, given, groups):
        if estimate == "share":
            return share_estimate(true == given, groups)
        return macro_f1_estimate(true, given, 3, groups)

    groups = np.arange(40)
    once = of(true, given, groups)
    many = of(*(np.repeat(values, 10) for values in (true, given, groups)))
    assert vars(many) == pytest.approx(vars(once))
    apart = of(*(np.repeat(values, 10) for values in (true, given)), np.arange(400))
    assert apart.high - apart.low < 0.6 * (once.high - once.low)


def test_limits_hold_the_true_score_as_often_as_they_promise() -> None:
    # 30 classes of 10 photos, recall 0.7, and mistakes spread evenly: the true F1 is 0.7.
    classes, generator = 30, np.random.default_rng(2)
    true, held = np.repeat(np.arange(classes), 10), {"share": 0, "macro_f1": 0}
    for _ in range(60):
        wrong = (true + generator.integers(1, classes, len(true))) % classes
        given = np.where(generator.random(len(true)) < 0.7, true, wrong)
        groups = np.arange(len(true))
        for name, found in (
            ("share", share_estimate(true == given, groups)),
            ("macro_f1", macro_f1_estimate(true, given, classes, groups)),
        ):
            held[name] += found.low <= 0.7 <= found.high
    # Of 60 intervals of 95 %, 51 or fewer hold it with a chance of 0.1 %.
    assert min(held.values()) >= 51
