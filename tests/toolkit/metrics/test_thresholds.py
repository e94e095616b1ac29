"""Thresholds of answers: what was asked for holds on photos that they were not fitted on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_toolkit.metrics.thresholds import acceptance_threshold, right_share_limits


def test_the_bound_needs_22_right_names_for_90_percent() -> None:
    assert acceptance_threshold(np.full(22, 0.95), np.ones(22), 0.9) == 0.95
    assert acceptance_threshold(np.full(21, 0.95), np.ones(21), 0.9) is None
    one_wrong = np.arange(38) > 0
    assert acceptance_threshold(np.full(38, 0.95), one_wrong, 0.9) == 0.95
    assert acceptance_threshold(np.full(37, 0.95), one_wrong[:37], 0.9) is None


def test_the_lowest_threshold_that_holds_is_taken_and_rounded_down() -> None:
    sure = np.repeat([0.99999, 0.95, 0.5], 100)
    right = np.arange(300) < 200
    assert acceptance_threshold(sure, right, 0.9) == 0.95
    assert acceptance_threshold(sure[:100], right[:100], 0.9) == 0.9999


def test_luck_without_confidence_is_not_enough() -> None:
    """Where calibrated probabilities say 0.8, 100 right names in a row are taken for luck."""
    assert acceptance_threshold(np.full(100, 0.8), np.ones(100), 0.9) is None


def test_confidence_without_right_names_is_not_enough() -> None:
    assert acceptance_threshold(np.full(100, 0.99), np.arange(100) < 85, 0.9) is None


def test_equal_confidences_are_accepted_together() -> None:
    sure = np.repeat([0.95, 0.9], 60)
    right = np.r_[np.ones(60), np.ones(20), np.zeros(40)]
    assert acceptance_threshold(sure, right, 0.85) == 0.95
    # In any order of the photos of one confidence.
    assert acceptance_threshold(sure, right[::-1], 0.85) is None


def test_nothing_is_named_where_all_must_be_right_or_there_are_no_photos() -> None:
    assert acceptance_threshold(np.ones(1000), np.ones(1000), 1.0) is None
    assert acceptance_threshold([], [], 0.9) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_copies_in_a_group_change_nothing(seed, copies) -> None:
    generator = np.random.default_rng(seed)
    groups = generator.integers(-3, 60, 90)
    sure = 1 - generator.random(90) ** 2 / 3
    right = generator.random(90) < sure
    once = acceptance_threshold(sure, right, 0.8, groups)
    repeated = (np.repeat(values, copies) for values in (sure, right))
    assert acceptance_threshold(*repeated, 0.8, np.repeat(groups, copies)) == once


def test_a_burst_is_one_observation() -> None:
    sure, right = np.full(220, 0.95), np.ones(220)
    assert acceptance_threshold(sure, right, 0.9, np.arange(220) // 10) == 0.95
    assert acceptance_threshold(sure[:210], right[:210], 0.9, np.arange(210) // 10) is None


def calibrated(generator: np.random.Generator, photos: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and whether the answers are right, as a perfectly calibrated model has them."""
    sure = generator.beta(5, 0.7, photos)
    return sure, generator.random(photos) < sure


@pytest.mark.parametrize("photos", [100, 4000])
def test_what_was_asked_for_holds_on_new_photos(photos) -> None:
    generator = np.random.default_rng(0)
    fresh, right = calibrated(generator, 100_000)
    reached = []
    for _ in range(60):
        found = acceptance_threshold(*calibrated(generator, photos), 0.9)
        if found is not None:
            reached.append(right[fresh >= found].mean())
    assert len(reached) > 40
    # The bound may fail in a tenth of the fits; then it fails by little.
    assert np.mean(np.array(reached) < 0.9) < 0.15
    assert np.mean(reached) > 0.9 and min(reached) > 0.87


def test_limits_of_a_share_are_those_of_clopper_and_pearson() -> None:
    # Of 10 observations 9 right: known limits of the exact interval.
    assert right_share_limits(np.arange(10) > 0) == pytest.approx((0.5550, 0.9975), abs=1e-4)
    assert right_share_limits([]) == (0.0, 1.0)
    assert right_share_limits(np.ones(20), np.zeros(20)) == pytest.approx((0.025, 1.0))
