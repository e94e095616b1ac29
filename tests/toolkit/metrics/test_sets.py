"""Sets of classes hold the true class as often as asked for, rare classes included."""

from __future__ import annotations

import numpy as np
import pytest

from rs_runtime.sets import in_set, strangeness, unknown_score
from rs_toolkit.metrics.classification import softmax
from rs_toolkit.metrics.sets import COVERAGES, fit_sets
from rs_toolkit.metrics.unknown import fit_unknown

CLASSES = 12
SHARES = 0.7 ** np.arange(CLASSES) / np.sum(0.7 ** np.arange(CLASSES))


def long_tail(generator: np.random.Generator, photos: int) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated logits and labels of photos from common classes and rare ones."""
    labels = generator.choice(CLASSES, photos, p=SHARES)
    seen = generator.normal(0, 1, (photos, CLASSES)) + 2 * (np.arange(CLASSES) == labels[:, None])
    # The log of the posterior: each view is normal around 0, or 2 for the true class.
    return 2 * seen + np.log(SHARES), labels


@pytest.mark.parametrize("asked", [0.5, 0.8, 0.9, 0.95])
def test_sets_hold_the_true_class_as_often_as_asked_for(asked) -> None:
    generator = np.random.default_rng(0)
    logits, labels = long_tail(generator, 20_000)
    reached = []
    for _ in range(30):
        fitted, truth = long_tail(generator, 300)
        inside = in_set(softmax(logits), fit_sets(softmax(fitted), truth), asked)
        reached.append(inside[np.arange(len(labels)), labels].mean())
    assert np.mean(reached) == pytest.approx(asked, abs=0.025)


def test_rare_classes_are_held_as_often_as_common_ones() -> None:
    generator = np.random.default_rng(1)
    logits, labels = long_tail(generator, 20_000)
    fitted, truth = long_tail(generator, 2000)
    spec = fit_sets(softmax(fitted), truth)
    rare = labels >= CLASSES // 2

    def held(inside: np.ndarray) -> float:
        return float(inside[rare, labels[rare]].mean())

    plain = np.sort(softmax(fitted)[np.arange(2000), truth])[200]
    assert held(in_set(softmax(logits), spec, 0.9)) > 0.8 > 0.7 > held(softmax(logits) >= plain)


def test_too_few_photos_give_fewer_coverages() -> None:
    generator = np.random.default_rng(2)
    logits, labels = long_tail(generator, 9)
    spec = fit_sets(softmax(logits), labels)
    # 9 of 10 photos: the tenth is the new one.
    assert spec.coverages == COVERAGES[:41] and spec.coverages[-1] == 0.9
    assert in_set(softmax(logits), spec, 0.95).all()
    assert fit_sets(softmax(logits[:1]), labels[:1]).coverages == (0.5,)


def test_copies_in_a_group_change_nothing() -> None:
    logits, labels = long_tail(np.random.default_rng(3), 80)
    groups = np.arange(80) // 2
    once, again = (
        (
            fit_sets(softmax(logits[rows]), labels[rows], groups[rows]),
            fit_unknown(logits[rows], 1.3, groups[rows]),
        )
        for rows in (np.arange(80), np.tile(np.arange(80), 3))
    )
    np.testing.assert_allclose(once[0].prevalence, again[0].prevalence)
    assert once[0].coverages == again[0].coverages
    np.testing.assert_allclose(once[0].ratios, again[0].ratios)
    np.testing.assert_allclose(once[1].quantiles, again[1].quantiles)


def test_known_photos_are_as_strange_as_the_validation_photos() -> None:
    generator = np.random.default_rng(4)
    spec = fit_unknown(long_tail(generator, 3000)[0], 1.0)
    known = long_tail(generator, 3000)[0]
    noise = 2 * generator.normal(0, 1, (3000, CLASSES)) + np.log(SHARES)
    strange = strangeness(unknown_score(known, 1.0, spec.score), spec)
    assert np.mean(strange > 0.95) == pytest.approx(0.05, abs=0.02)
    assert np.mean(strangeness(unknown_score(noise, 1.0, spec.score), spec) > 0.95) > 0.1
