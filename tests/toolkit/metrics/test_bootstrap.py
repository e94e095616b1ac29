"""The paired bootstrap: right point estimates, and noise told from loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_toolkit.metrics.bootstrap import paired_drops
from rs_toolkit.metrics.classification import macro_f1, worst_decile_f1


def noisy(truth: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Return predictions of which a share is replaced by random classes."""
    wrong = generator.random(len(truth)) < share
    return np.where(wrong, generator.integers(0, truth.max() + 1, len(truth)), truth)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 25))
def test_point_estimates_are_those_of_the_metrics(seed, photos, classes) -> None:
    generator = np.random.default_rng(seed)
    truth, one, two = generator.integers(0, classes, (3, photos))
    drops = paired_drops(truth, one, two, classes, rounds=2)
    for name, metric in (("macro_f1", macro_f1), ("worst_decile_f1", worst_decile_f1)):
        wanted = metric(truth, one, classes) - metric(truth, two, classes)
        assert drops[name].drop == pytest.approx(wanted, abs=1e-6)


def test_equal_models_lose_nothing() -> None:
    truth = np.repeat(np.arange(20), 5)
    guess = noisy(truth, 0.3, np.random.default_rng(0))
    drop = paired_drops(truth, guess, guess, 20)["macro_f1"]
    assert (drop.drop, drop.low) == (0, 0)


def test_a_lost_class_is_beyond_noise() -> None:
    truth = np.repeat(np.arange(20), 10)
    after = np.where(truth == 3, 4, truth)
    drops = paired_drops(truth, truth, after, 20)
    assert drops["macro_f1"].low > 0
    assert drops["worst_decile_f1"].low > 0.3


def test_two_flipped_photos_are_noise() -> None:
    truth = np.repeat(np.arange(20), 10)
    one = noisy(truth, 0.3, np.random.default_rng(1))
    two = one.copy()
    right, wrong = np.flatnonzero(one == truth), np.flatnonzero(one != truth)
    two[right[:3]] = (truth[right[:3]] + 1) % 20
    two[wrong[:2]] = truth[wrong[:2]]
    drop = paired_drops(truth, one, two, 20)["macro_f1"]
    assert drop.drop != 0
    assert drop.low < 0


def test_seeded_and_the_same_in_parts(monkeypatch) -> None:
    generator = np.random.default_rng(2)
    truth = generator.integers(0, 7, 90)
    one, two = noisy(truth, 0.2, generator), noisy(truth, 0.4, generator)
    whole = paired_drops(truth, one, two, 7)
    monkeypatch.setattr("rs_toolkit.metrics.bootstrap._CELLS", 1000)
    assert paired_drops(truth, one, two, 7) == whole
    assert paired_drops(truth, one, two, 7, seed=1) != whole
