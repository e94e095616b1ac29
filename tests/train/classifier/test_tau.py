"""The tau-normalized head, on features whose best tau is known."""

from __future__ import annotations

import numpy as np
import pytest

from rs_train.classifier.tau import choose_tau, normalized

GENERATOR = np.random.default_rng(0)
KERNEL = GENERATOR.normal(size=(8, 3)).astype(np.float32) * [4.0, 1.0, 0.2]
BIAS = GENERATOR.normal(size=3)
FEATURES = GENERATOR.normal(size=(400, 8)) + 5


def test_lengths_come_closer_and_the_logits_of_the_mean_photo_stay() -> None:
    mean = FEATURES.mean(0)
    for tau in (0.0, 0.5, 1.0):
        kernel, bias = normalized(KERNEL, BIAS, mean, tau)
        assert mean @ kernel + bias == pytest.approx(mean @ KERNEL + BIAS)
        lengths, before = (np.linalg.norm(x, axis=0) for x in (kernel, KERNEL))
        assert np.log(lengths).std() == pytest.approx((1 - tau) * np.log(before).std(), abs=1e-9)
        assert np.log(lengths).mean() == pytest.approx(np.log(before).mean())
    assert np.array_equal(normalized(KERNEL, BIAS, mean, 0.0)[0], KERNEL)


def test_a_class_without_weights_keeps_none() -> None:
    kernel = KERNEL * [1, 1, 0]
    changed, bias = normalized(kernel, BIAS, FEATURES.mean(0), 1.0)
    assert np.isfinite(changed).all() and not changed[:, 2].any() and bias[2] == BIAS[2]


def test_the_tau_that_undoes_the_lengths_is_found() -> None:
    """Labels are those of equal lengths; training made the lengths unequal by a known power."""
    even = KERNEL / np.linalg.norm(KERNEL, axis=0)
    mean = FEATURES.mean(0)
    labels = ((FEATURES - mean) @ even).argmax(1)
    stretched = even * [3.0, 1.0, 1 / 3]
    bias = -mean @ stretched
    tau = choose_tau(stretched, bias, FEATURES, labels)
    kernel, moved = normalized(stretched, bias, mean, tau)
    assert tau == 1
    assert ((FEATURES @ kernel + moved).argmax(1) == labels).all()
    # Where nothing is to be gained, nothing changes.
    assert choose_tau(even, -mean @ even, FEATURES, labels) == 0
