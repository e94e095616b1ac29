"""Sets of classes, and how strange a photo is."""

from __future__ import annotations

import numpy as np
import pytest

from rs_runtime.kit.sets import UNKNOWN_SCORES, SetSpec, UnknownSpec
from rs_runtime.sets import in_set, strangeness, unknown_score

SPEC = SetSpec((0.9, 0.1), (0.8, 0.9, 0.95), (1.0, 0.5, 0.1))


def test_a_rare_class_is_measured_against_its_prevalence() -> None:
    rows = np.array([[0.85, 0.15], [0.95, 0.05]])
    assert in_set(rows, SPEC, 0.8).tolist() == [[False, True], [True, False]]
    assert in_set(rows, SPEC, 0.9).tolist() == [[True, True], [True, True]]


def test_the_next_coverage_that_was_fitted_is_taken() -> None:
    assert [SPEC.ratio(asked) for asked in (0.0, 0.8, 0.81, 0.3 * 3, 0.95)] == [
        *(1.0, 1.0, 0.5, 0.5, 0.1)
    ]
    # Too few photos were there for more: every class is in the set.
    assert in_set(np.array([[1.0, 0.0]]), SPEC, 0.96).all()


@pytest.mark.parametrize("name", UNKNOWN_SCORES)
def test_scores_are_low_for_small_logits_and_overflow_nowhere(name) -> None:
    logits = np.array([[5.0, 0.0, 0.0], [0.3, 0.2, 0.1], [1e4, 0.0, -1e4]], np.float32)
    found = unknown_score(logits, 0.5, name)
    assert found[1] < found[0] <= found[2]
    assert np.isfinite(found).all()


def test_energy_and_probability_are_those_of_the_papers() -> None:
    logits, temperature = np.random.default_rng(0).normal(0, 3, (9, 4)), 1.7
    powers = np.exp(logits / temperature)
    np.testing.assert_allclose(unknown_score(logits, temperature, "energy"), np.log(powers.sum(1)))
    shares = (powers / powers.sum(1, keepdims=True)).max(1)
    np.testing.assert_allclose(unknown_score(logits, temperature, "max_probability"), shares)


def test_strangeness_is_the_share_of_photos_that_are_less_strange() -> None:
    spec = UnknownSpec("energy", tuple(float(i) for i in range(11)))
    assert strangeness([-5.0, 0.0, 2.5, 10.0, 99.0], spec).tolist() == [1.0, 1.0, 0.75, 0.0, 0.0]
