from __future__ import annotations

import numpy as np
import pytest

from rs_toolkit.metrics.classification import softmax
from rs_train.classifier.logistic import solve_path

STRENGTHS = (0.001, 0.03, 1.0)
EXACT = 1e-6
CASES = {
    "plain": {},
    "many classes": {"classes": 30},
    "two classes": {"classes": 2},
    "two classes, more features than photos": {"classes": 2, "features": 200},
    "more features than photos": {"features": 200},
    "as many features as photos": {"features": 90},
    "one photo a class": {"count": 30, "classes": 30},
    "one photo a class but for one": {"count": 60, "classes": 30, "tail": True},
    "two alike views of each photo": {"repeat": 2},
    "features that are always 0": {"dead": 5},
    "features that are copies": {"copies": True},
    "weights from 1 to 1,000": {"weight": 1000.0},
    "one feature": {"features": 1},
}


def problem(
    *, count=90, classes=5, features=40, repeat=1, dead=0, copies=False, weight=10.0, tail=False
):
    generator = np.random.default_rng(0)
    spread = np.maximum(np.arange(count) - count + classes, 0) if tail else np.arange(count)
    labels = spread % classes
    centres = generator.normal(0, 1, (classes, features))
    rows = centres[labels] + generator.normal(0, 1.5, (count, features))
    weights = weight ** generator.random(count)
    rows[:, :dead] = 0
    if copies:
        rows[:, : features // 2] = rows[:, -(features // 2) :]
    rows, labels, weights = (np.repeat(values, repeat, 0) for values in (rows, labels, weights))
    rows -= np.average(rows, 0, weights)
    return rows.astype(np.float32), labels, weights / weights.mean()


def objective(rows, labels, weights, kernel, bias, strength) -> float:
    """The module's formula, in float64."""
    found = softmax(rows.astype(np.float64) @ kernel + bias)[np.arange(len(labels)), labels]
    penalty = (kernel**2).sum() * (2 if kernel.shape[1] == 2 else 1)
    return -strength * float(weights @ np.log(found)) + penalty / 2


def by_scikit_learn(rows, labels, weights, strength):
    from sklearn.linear_model import LogisticRegression

    solver = LogisticRegression(C=strength, max_iter=20_000, tol=1e-7)
    solver.fit(rows.astype(np.float64), labels, sample_weight=weights)
    kernel, bias = solver.coef_.T, solver.intercept_
    if len(bias) == 1:
        kernel, bias = np.hstack([-kernel, kernel]) / 2, np.append(-bias, bias) / 2
    return kernel, bias


@pytest.mark.parametrize("case", CASES)
def test_optimum_is_that_of_scikit_learn(case) -> None:
    rows, labels, weights = problem(**CASES[case])
    solutions = solve_path(rows, labels, weights, STRENGTHS, EXACT)
    for strength, (kernel, bias) in zip(STRENGTHS, solutions, strict=True):
        expected = by_scikit_learn(rows, labels, weights, strength)
        reached = objective(rows, labels, weights, kernel, bias, strength)
        lowest = objective(rows, labels, weights, *expected, strength)
        assert reached <= lowest * (1 + 1e-4)
        one, other = softmax(rows @ kernel + bias), softmax(rows @ expected[0] + expected[1])
        assert np.allclose(one, other, atol=0.01)
        first, second = np.sort(other, axis=1)[:, [-1, -2]].T
        clear = first - second > 0.02
        assert np.array_equal(one.argmax(1)[clear], other.argmax(1)[clear])


def test_one_class_is_always_predicted() -> None:
    rows = np.ones((3, 2), np.float32)
    ((kernel, bias),) = solve_path(rows, np.zeros(3, np.int64), np.ones(3), [1.0])
    assert np.isfinite(kernel).all() and np.isfinite(bias).all()


def test_solution_does_not_depend_on_the_stronger_penalties_before_it() -> None:
    rows, labels, weights = problem()
    ((alone, _),) = solve_path(rows, labels, weights, STRENGTHS[-1:], EXACT)
    *_, (last, _) = solve_path(rows, labels, weights, STRENGTHS, EXACT)
    assert np.allclose(alone, last, atol=0.02 * np.abs(last).max())


def test_only_what_is_asked_for_is_computed(monkeypatch) -> None:
    from rs_train.classifier import logistic

    calls = []
    minimize = logistic._minimize
    monkeypatch.setattr(logistic, "_minimize", lambda *given: calls.append(1) or minimize(*given))
    solutions = solve_path(*problem(), STRENGTHS)
    next(solutions)
    next(solutions)
    assert len(calls) == 2


def test_same_input_same_numbers_and_threads_change_only_the_rounding() -> None:
    from threadpoolctl import threadpool_limits

    rows, labels, weights = problem(count=600, features=300, classes=20)
    found = {}
    for name, threads in (("first", 1), ("again", 1), ("two", 2)):
        with threadpool_limits(threads):
            found[name] = list(solve_path(rows, labels, weights, STRENGTHS, EXACT))
    for first, again, two in zip(*found.values(), strict=True):
        assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
        one, other = (softmax(rows @ kernel + bias) for kernel, bias in (first, two))
        assert np.allclose(one, other, atol=2e-3)


def test_a_path_takes_fewer_steps_than_its_strengths_alone(monkeypatch) -> None:
    from rs_train.classifier import logistic

    steps = []
    search = logistic._line_search
    monkeypatch.setattr(logistic, "_line_search", lambda *given: steps.append(1) or search(*given))
    given = problem(count=200, features=100, classes=20)
    strengths = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
    counts = []
    for group in ([strengths], [[strength] for strength in strengths]):
        steps.clear()
        for part in group:
            list(solve_path(*given, part))
        counts.append(len(steps))
    assert counts[0] * 1.5 < counts[1]


@pytest.mark.parametrize("features", [40, 200])
def test_axes_that_hold_a_share_of_the_variance_of_the_photos(features) -> None:
    from rs_train.classifier.logistic import _principal_axes

    rows, _, weights = problem(features=features, repeat=2)
    noise = np.random.default_rng(1).normal(0, 0.1, rows.shape)
    noise[1::2] = -noise[::2]  # cancels in the mean of two views
    seen = (rows + noise).astype(np.float32)
    kept = []
    for share in (0.8, 0.95, 1.0):
        axes = _principal_axes(seen, weights, 2, share)
        assert np.allclose(axes.T @ axes, np.eye(axes.shape[1]), atol=1e-3)
        held = weights @ ((rows @ axes) ** 2).sum(1) / (weights @ (rows**2).sum(1))
        assert held >= share - 1e-4
        kept.append(axes.shape[1])
    assert kept[0] < kept[1] < kept[2] == min(features, 89)


def test_dropped_axes_hardly_change_what_is_predicted() -> None:
    rows, labels, weights = problem(count=300, features=60, repeat=2)
    rows[:, :40] *= 0.02
    full, fewer = (
        list(solve_path(rows, labels, weights, STRENGTHS, EXACT, 2, share)) for share in (1.0, 0.99)
    )
    for one, other in zip(full, fewer, strict=True):
        first, second = (softmax(rows @ kernel + bias) for kernel, bias in (one, other))
        assert np.allclose(first, second, atol=0.02)
