"""Temperature and Platt scaling, on data that is easy, separable, useless or wrong."""

from __future__ import annotations

import numpy as np
import pytest

from rs_toolkit.errors import DataError
from rs_toolkit.metrics.calibration import fit_platt, fit_temperature


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(x / 2))


@pytest.mark.parametrize(("temperature", "bias"), [(1.0, 0.0), (7.0, -1.5), (0.05, 2.0)])
def test_finds_what_the_odds_were_made_with(temperature, bias) -> None:
    generator = np.random.default_rng(0)
    real = generator.normal(0, 2, 20_000)
    truth = generator.random(len(real)) < sigmoid(real)
    found = fit_platt((real - bias) * temperature, truth)
    assert found == pytest.approx((temperature, bias), rel=0.06, abs=0.06 * temperature)


def test_is_the_minimum_of_the_smoothed_loss() -> None:
    from scipy.optimize import minimize

    generator = np.random.default_rng(1)
    truth = generator.random(60) < 0.3
    odds = generator.normal(4.0 * truth, 3.0)
    ones = truth.sum()
    targets = np.where(truth, (ones + 1) / (ones + 2), 1 / (60 - ones + 2))

    def loss(x: np.ndarray) -> float:
        logits = odds * x[0] + x[1]
        return float(np.sum(np.logaddexp(0, logits) - targets * logits))

    wanted = minimize(loss, [0.1, 0.0], tol=1e-12).x
    temperature, bias = fit_platt(odds, truth)
    np.testing.assert_allclose([1 / temperature, bias], wanted, rtol=1e-4)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_separable_odds_give_the_smoothed_targets(size) -> None:
    truth = np.arange(40) >= 10
    temperature, bias = fit_platt(np.where(truth, 1.0, -1.0) * size, truth)
    p = sigmoid(np.array([-size, size]) / temperature + bias)
    if size == 1.0:
        np.testing.assert_allclose(p, [1 / 12, 31 / 32], rtol=1e-4)
    assert 1e-3 <= temperature <= 1e3
    # At the end of the temperature's range too, the mean is right.
    assert np.mean(p[truth.astype(int)]) == pytest.approx(
        np.mean(np.where(truth, 31 / 32, 1 / 12)), abs=1e-4
    )


@pytest.mark.parametrize("odds", [np.full(30, 3.0), np.where(np.arange(30) < 10, 1.0, -1.0)])
def test_useless_or_inverted_odds_give_the_base_rate(odds) -> None:
    truth = np.arange(30) >= 10
    temperature, bias = fit_platt(odds, truth)
    assert 100 < temperature <= 1000
    assert sigmoid(odds / temperature + bias) == pytest.approx(2 / 3, abs=0.03)


@pytest.mark.parametrize(
    ("odds", "truth"),
    [([1.0, 2.0], [True]), ([1.0, 2.0], [True, True]), ([], []), ([1.0, np.nan], [True, False])],
)
def test_what_cannot_be_fitted_is_one_line(odds, truth, one_line) -> None:
    with pytest.raises(DataError) as caught:
        fit_platt(odds, truth)
    one_line(str(caught.value))


@pytest.mark.parametrize("wanted", [0.5, 1.0, 2.5])
def test_the_temperature_is_the_one_that_the_logits_were_made_with(wanted) -> None:
    generator = np.random.default_rng(0)
    real = generator.normal(0, 2, (4000, 6))
    shares = np.exp(real) / np.exp(real).sum(1, keepdims=True)
    labels = (shares.cumsum(1) > generator.random(4000)[:, None]).argmax(1)
    assert fit_temperature(real * wanted, labels) == pytest.approx(wanted, rel=0.06)


@pytest.mark.parametrize("photos", [10, 40, 400])
def test_photos_without_a_mistake_do_not_make_the_temperature_extreme(photos) -> None:
    """Without a prior it was 0.05, by which 1.0 against 0.7 was 99.8 % sure."""
    generator = np.random.default_rng(photos)
    logits = generator.normal(0, 1, (photos, 5))
    logits[:, 0] = logits.max(axis=1) + generator.gamma(3, 2, photos)
    temperature = fit_temperature(logits, np.zeros(photos, int))
    assert 0.3 < temperature < 1
    assert sigmoid(np.array(0.3 / temperature)) < 0.75


def test_one_photo_says_little_about_the_temperature() -> None:
    assert fit_temperature([[3.0, 0.0]], [0]) == pytest.approx(1, abs=0.1)
    assert 1 < fit_temperature([[3.0, 0.0]], [1]) < 2


def test_copies_in_a_group_do_not_change_the_temperature() -> None:
    generator = np.random.default_rng(5)
    logits, labels = generator.normal(0, 2, (30, 4)), generator.integers(0, 4, 30)
    groups = np.arange(30) // 3
    rows = np.tile(np.arange(30), 4)
    again = fit_temperature(logits[rows], labels[rows], groups[rows])
    assert again == pytest.approx(fit_temperature(logits, labels, groups), rel=1e-6)
    assert again != pytest.approx(fit_temperature(logits, labels), rel=1e-3)
